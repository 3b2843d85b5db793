/** Shared transactions from the broker to the settled message. */
import { createBinder, defineChannel, sink } from 'concordat/binder'
import type { SqlTransaction } from 'concordat/core'
import { memoryTransport } from 'concordat/memory'
import { createInbox } from 'concordat/outbox'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { NO_PAUSE } from '../binder/support/run.ts'
import { StillClock, xidOf } from '../support/sharing.ts'
import { record } from '../support/tracing.ts'
import { until } from '../support/until.ts'
import { uniqueName } from './support/messages.ts'
import { embedded, useEmbedded } from './support/pglite.ts'

useEmbedded()

const orders = defineChannel('orders', { payload: z.object({ k: z.string(), n: z.number() }), key: ({ k }) => k })

interface Options {
  readonly concurrency?: number
  readonly sharesTransactions?: boolean
  readonly telemetry?: ReturnType<typeof record>['telemetry']
}

/** Sends a first message alone, which shows that the handler is quick, and then all the others at once. */
async function consume(
  messages: readonly string[],
  { telemetry, ...options }: Options,
  handle: (name: string, tx: SqlTransaction) => Promise<void>,
) {
  const inbox = createInbox({ sql: embedded(), schema: uniqueName('inbox'), clock: new StillClock() })
  await inbox.migrate()
  const binding = sink(
    orders,
    { group: 'stock', inbox, concurrency: 16, backoff: NO_PAUSE, ...options },
    async ({ k, n }, { tx }) => handle(`${k}${n}`, tx),
  )
  await using binder = createBinder({
    service: 's',
    transport: memoryTransport(),
    bindings: [binding],
    sends: [orders],
    telemetry,
  })
  await binder.start()
  const send = (names: readonly string[]): Promise<unknown> =>
    binder.sendBatch(
      orders,
      names.map((name) => ({ k: name.charAt(0), n: Number(name.slice(1)) })),
    )
  const settled = (count: number): Promise<void> =>
    until(`${count} are settled`, () => {
      const [status] = binder.bindings()
      return (status?.handled ?? 0) + (status?.deadLettered ?? 0) === count
    })
  await send(['z0'])
  await settled(1)
  await send(messages)
  await settled(messages.length + 1)
  return binder.bindings()[0]
}

describe('messages of a binding', () => {
  test('share transactions, and those of one key come after each other', async () => {
    const seen: string[] = []
    const xids = new Map<string, string>()
    await consume(['a1', 'b1', 'a2', 'c1', 'b2', 'a3', 'd1'], {}, async (name, tx) => {
      seen.push(name)
      xids.set(name, await xidOf(tx))
    })
    for (const key of ['a', 'b']) {
      const ofKey = seen.filter((name) => name.startsWith(key))
      expect(ofKey).toEqual(ofKey.toSorted())
      expect(new Set(ofKey.map((name) => xids.get(name))).size).toBe(ofKey.length)
    }
    expect(new Set(xids.values()).size).toBeLessThan(seen.length)
  })

  test.each([
    ['that shares none', { sharesTransactions: false }],
    ['that handles one at a time', { concurrency: 1 }],
  ])('%s, have a transaction each', async (_, options) => {
    const xids = new Set<string>()
    await consume(['a1', 'b1', 'c1'], options, async (_name, tx) => void xids.add(await xidOf(tx)))
    expect(xids.size).toBe(4)
  })

  test('keep their own attempts: one that fails permanently goes to the dead letters, its neighbours were called once', async () => {
    const calls: string[] = []
    const status = await consume(['a1', 'b1', 'c1'], {}, async (name) => {
      calls.push(name)
      if (name === 'b1') throw new Error('never')
    })
    expect(status).toMatchObject({ handled: 3, deadLettered: 1 })
    expect(calls.toSorted()).toEqual(['a1', 'b1', 'b1', 'b1', 'c1', 'z0'])
  })

  test('have a span each, active in their own handler', async () => {
    const recording = record()
    const inside = new Map<string, string | undefined>()
    await consume(['a1', 'b1', 'c1'], { telemetry: recording.telemetry }, async (name, tx) => {
      await tx.query('SELECT 1')
      inside.set(name, recording.telemetry.active()?.spanId)
    })
    const spans = recording.named('process orders').map((span) => span.spanContext().spanId)
    expect(new Set(inside.values())).toEqual(new Set(spans))
    expect(new Set(spans).size).toBe(4)
  })
})

describe('sharesTransactions', () => {
  test.each([
    ['no boolean', true, 'yes'],
    ['without an inbox', false, true],
  ])('%s is refused, naming the option', (_, hasInbox, sharesTransactions) => {
    const inbox = hasInbox ? createInbox({ sql: embedded() }) : undefined
    const binding = sink(orders, { group: 'g', inbox, sharesTransactions } as never, async () => {})
    const make = () => createBinder({ service: 's', transport: memoryTransport(), bindings: [binding] })
    expect(make).toThrow('sink("orders").sharesTransactions')
  })
})
