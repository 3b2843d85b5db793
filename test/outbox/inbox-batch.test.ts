import { createBinder, defineChannel, failed, ok, sinkBatch } from 'concordat/binder'
import { memoryTransport } from 'concordat/binder/memory'
import { createInbox } from 'concordat/outbox'
import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { until } from '../support/until.ts'
import { uniqueName } from './support/messages.ts'
import { embedded, useEmbedded } from './support/pglite.ts'

useEmbedded()

const channel = defineChannel('numbers', {
  payload: z.object({ key: z.string(), n: z.number() }),
  key: ({ key }) => key,
  partitions: 1,
  groups: ['g'],
})

/** A batch sink whose effect is a row per message, in one transaction. */
async function setup(fails: (n: number, attempt: number) => boolean = () => false) {
  const sql = embedded()
  const schema = uniqueName('inbox')
  const inbox = createInbox({ sql, schema })
  await inbox.migrate()
  await sql.query(`CREATE TABLE "${schema}".effect (n int, seq serial)`)
  const calls: number[][] = []
  const binding = sinkBatch(
    channel,
    { group: 'g', inbox, batch: { maxSize: 6, maxWaitMs: 50 }, backoff: { initialMs: 0, maxMs: 0 } },
    async (items, { tx }) => {
      calls.push(items.map(({ payload }) => payload.n))
      for (const { payload } of items) await tx.query(`INSERT INTO "${schema}".effect (n) VALUES ($1)`, [payload.n])
      return items.map(({ payload, context }) => (fails(payload.n, context.attempt) ? failed(new Error('no')) : ok))
    },
  )
  const binder = createBinder({ service: 'test', transport: memoryTransport(), sends: [channel], bindings: [binding] })
  onTestFinished(() => binder.close())
  await binder.start()
  const effects = async (): Promise<number[]> =>
    (await sql.query<{ n: number }>(`SELECT n FROM "${schema}".effect ORDER BY seq`)).rows.map(({ n }) => n)
  const status = () => binder.binding('numbers.g').status()
  return { inbox, binder, calls, effects, status }
}

test('a batch is one transaction, and messages handled before are left out of it', async () => {
  const { binder, calls, effects, status } = await setup()
  for (const n of [0, 1, 2]) await binder.send(channel, { key: 'a', n }, { id: `m-${n}` })
  await until('all were handled', () => status().handled === 3)
  for (const n of [1, 2, 3]) await binder.send(channel, { key: 'a', n }, { id: `m-${n}` })
  await until('all were settled', () => status().handled === 6)
  expect(await effects()).toEqual([0, 1, 2, 3])
  expect(calls.flat()).toEqual([0, 1, 2, 3])
})

test('a message twice in one batch has its effect once', async () => {
  const { binder, effects, status } = await setup()
  await Promise.all([0, 0, 1].map((n) => binder.send(channel, { key: 'a', n }, { id: `m-${n}` })))
  await until('all were settled', () => status().handled === 3)
  expect(await effects()).toEqual([0, 1])
})

test('one that fails takes the transaction back: the others commit without it, and it goes its own way', async () => {
  const { binder, effects, status } = await setup((n, attempt) => n === 1 && attempt < 3)
  await Promise.all(
    [
      { key: 'a', n: 0 },
      { key: 'b', n: 1 },
      { key: 'b', n: 2 },
      { key: 'c', n: 3 },
    ].map((payload) => binder.send(channel, payload)),
  )
  await until('all were handled', () => status().handled === 4)
  const seen = await effects()
  expect(seen.toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3])
  expect(seen.indexOf(1)).toBeLessThan(seen.indexOf(2))
})

test('one that always fails is dead-lettered alone and leaves no effect', async () => {
  const { binder, effects, status } = await setup((n) => n === 1)
  await Promise.all([0, 1, 2].map((n) => binder.send(channel, { key: 'a', n })))
  await until('all were settled', () => status().handled === 2 && status().deadLettered === 1)
  expect(await effects()).toEqual([0, 2])
})

test('two batches with the same messages, in other orders, both end', async () => {
  const { inbox } = await setup()
  const names = Array.from({ length: 20 }, (_, i) => ({ group: 'g', destination: 'd', source: 's', id: `${i}` }))
  const fresh: number[] = []
  const process = (messages: typeof names) =>
    inbox.processBatch?.(messages, async (_tx, indexes) => void fresh.push(indexes.length))
  await Promise.all([process(names), process(names.toReversed())])
  expect(fresh.toSorted((a, b) => a - b)).toEqual([0, 20])
})
