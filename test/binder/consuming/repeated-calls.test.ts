import { type Binding, createBinder, defineChannel, type Inbox, sink, sinkBatch } from 'concordat/binder'
import type { SqlTransaction } from 'concordat/core'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { until } from '../../support/until.ts'
import { ScriptedTransport } from '../support/scripted-transport.ts'

const euros = defineChannel('euros', { payload: z.object({ amount: z.number() }), groups: ['g'] })

/** An inbox whose first transaction is taken back because of another message in it, so that each handler is called twice. */
function sharingInbox(): Inbox {
  const tx = {} as SqlTransaction
  const emit = async (): Promise<void> => {}
  return {
    hasOutbox: false,
    process: async (_message, work) => {
      await work(tx, emit)
      await work(tx, emit)
      return 'processed'
    },
    processBatch: async (messages, work) => {
      const fresh = [...messages.keys()]
      await work(tx, fresh, emit)
      await work(tx, fresh, emit)
    },
  }
}

const seen: number[] = []
const toCents = (payload: { amount: number }): void => {
  seen.push(payload.amount)
  payload.amount *= 100
}

const BINDINGS: ReadonlyArray<readonly [string, Binding]> = [
  ['one by one', sink(euros, { group: 'g', inbox: sharingInbox() }, toCents)],
  [
    'in a batch',
    sinkBatch(euros, { group: 'g', inbox: sharingInbox(), batch: { maxSize: 1 } }, (items) =>
      items.forEach(({ payload }) => toCents(payload)),
    ),
  ],
]

describe('a handler that is called again in another transaction', () => {
  it.each(BINDINGS)('gets the payload as it was sent (%s)', async (_, binding) => {
    seen.length = 0
    const transport = new ScriptedTransport()
    const binder = createBinder({ service: 'test', transport, bindings: [binding] })
    onTestFinished(() => binder.close())
    await binder.start()
    const delivered = transport.subscription.deliver('k', { amount: 1 })
    await until('it is settled', () => delivered.end !== undefined)
    expect(delivered.end).toBe('acked')
    expect(seen).toEqual([1, 1])
  })
})
