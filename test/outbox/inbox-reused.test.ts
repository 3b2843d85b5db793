/** Programs that copy the headers of a message give its id to other messages. */
import { createBinder, defineChannel, ok, sink, sinkBatch } from 'concordat/binder'
import { silentLogger } from 'concordat/core'
import { memoryTransport } from 'concordat/memory'
import { createInbox } from 'concordat/outbox'
import { describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { until } from '../support/until.ts'
import { uniqueName } from './support/messages.ts'
import { embedded, useEmbedded } from './support/pglite.ts'

useEmbedded()

const lines = defineChannel('lines', {
  payload: z.object({ n: z.number() }),
  key: () => 'k',
  partitions: 1,
  groups: ['g'],
})

type Way = 'alone' | 'shared' | 'batch'

/** A group that keeps the numbers it handles. */
async function setup(way: Way, reusedIds?: 'drop' | 'accept') {
  const warnings: object[] = []
  const warn = (fields: object): void => void warnings.push(fields)
  const inbox = createInbox({
    sql: embedded(),
    schema: uniqueName('reused'),
    reusedIds,
    logger: { ...silentLogger, warn },
  })
  await inbox.migrate()
  const handled: number[] = []
  const options = { group: 'g', inbox, sharesTransactions: way === 'shared', concurrency: way === 'shared' ? 8 : 1 }
  const batch = { maxSize: 4, maxWaitMs: 10 }
  const binding =
    way === 'batch'
      ? sinkBatch(lines, { group: 'g', inbox, batch }, (items) => {
          handled.push(...items.map(({ payload }) => payload.n))
          return items.map(() => ok)
        })
      : sink(lines, options, ({ n }) => void handled.push(n))
  const binder = createBinder({ service: 'shop', transport: memoryTransport(), sends: [lines], bindings: [binding] })
  onTestFinished(() => binder.close())
  await binder.start()
  const send = async (id: string, n: number): Promise<void> => void (await binder.send(lines, { n }, { id }))
  const settled = (count: number) =>
    until(`${count} are settled`, () => binder.binding('lines.g').status().handled === count)
  return { inbox, handled, warnings, send, settled }
}

describe.each(['alone', 'shared', 'batch'] as const)('an inbox whose messages are handled %s', (way) => {
  test('counts and warns of a message that has the id of another one', async () => {
    const { inbox, handled, warnings, send, settled } = await setup(way)
    for (const [id, n] of [
      ['order-1', 1],
      ['order-1', 2],
      ['order-2', 3],
    ] as const)
      await send(id, n)
    await settled(3)
    expect(handled).toEqual([1, 3])
    expect(inbox.reusedIds).toBe(1)
    const where = { group: 'g', channel: 'lines', source: 'shop', messageId: 'order-1' }
    expect(warnings).toEqual([{ ...where, reusedIds: 1 }])
  })

  test('accepts a redelivered, unchanged message', async () => {
    const { inbox, handled, warnings, send, settled } = await setup(way)
    for (const n of [1, 1, 1]) await send('order-1', n)
    await settled(3)
    expect([handled, inbox.reusedIds, warnings]).toEqual([[1], 0, []])
  })

  test('handles each body once when ids may be reused', async () => {
    const { inbox, handled, warnings, send, settled } = await setup(way, 'accept')
    for (const n of [1, 2, 1, 2]) await send('order-1', n)
    await settled(4)
    expect([handled, inbox.reusedIds, warnings]).toEqual([[1, 2], 0, []])
  })
})

test('a rule that does not exist is refused by its name', () => {
  const reusedIds = 'keep' as never
  expect(() => createInbox({ sql: embedded(), reusedIds })).toThrow(
    "createInbox.reusedIds: expected 'drop' or 'accept'",
  )
})
