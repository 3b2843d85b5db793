import {
  createBinder,
  defineChannel,
  failed,
  ok,
  processorBatch,
  produced,
  several,
  sink,
  sinkBatch,
} from 'concordat/binder'
import { memoryTransport } from 'concordat/memory'
import { createInbox, createOutbox, createRelay } from 'concordat/outbox'
import { describe, expect, onTestFinished, test } from 'vitest'
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

test('ids without UTF-8 are different ones, and none is left out', async () => {
  const { binder, effects, status } = await setup()
  const event = (id: string, n: number) => ({
    specversion: '1.0',
    id,
    source: 'shop',
    type: 't',
    data: { key: 'a', n },
  })
  const published = await binder.publish(
    ['m-\ud83d', 'm-\ud83e', 'm'].map((id, n) => ({
      destination: 'numbers',
      id: `outer-${n}`,
      key: 'a',
      type: 'numbers',
      source: 'shop',
      time: 0,
      headers: {},
      contentType: 'application/cloudevents+json',
      body: new TextEncoder().encode(JSON.stringify(event(id, n))),
    })),
  )
  expect(published).toEqual([undefined, undefined, undefined])
  await until('all were settled', () => status().handled === 3)
  expect(await effects()).toEqual([0, 1, 2])
})

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

test('a failing message takes the transaction back: the others commit without it, and it goes its own way', async () => {
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

test('a message that always fails is dead-lettered alone and leaves no effect', async () => {
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

describe('outputs of a batch with an inbox', () => {
  const totals = defineChannel('totals', { payload: z.number(), groups: ['reader'] })

  /** A batch processor whose effect is a row per message and whose outputs leave by a relay. */
  async function processing(
    fails: (n: number, attempt: number) => boolean,
    retry: 'blocking' | 'delayed' = 'blocking',
  ) {
    const sql = embedded()
    const schema = uniqueName('inbox')
    const outbox = createOutbox({ sql, service: 'test', schema })
    const inbox = createInbox({ sql, schema, outbox })
    await outbox.migrate()
    await inbox.migrate()
    await sql.query(`CREATE TABLE "${schema}".effect (n int)`)
    const options = {
      group: 'g',
      inbox,
      retry,
      batch: { maxSize: 6, maxWaitMs: 50 },
      backoff: { initialMs: 0, maxMs: 0 },
    }
    const binding = processorBatch(channel, totals, options, async (items, { tx }) => {
      for (const { payload } of items) await tx.query(`INSERT INTO "${schema}".effect (n) VALUES ($1)`, [payload.n])
      return items.map(({ payload: { n }, context: { attempt } }) => {
        if (fails(n, attempt)) return failed(new Error('no'))
        return n === 9 ? produced('nine' as never) : produced(several([n, n + 100]))
      })
    })
    const got: Array<{ n: number; id: string }> = []
    const reader = sink(totals, { group: 'reader' }, (n, { id }) => void got.push({ n, id }))
    const binder = createBinder({ service: 'test', transport: memoryTransport(), bindings: [binding, reader] })
    onTestFinished(() => binder.close())
    await binder.start()
    const relay = createRelay({ outbox, publisher: binder, idlePollMs: 20 })
    onTestFinished(() => relay.close())
    await relay.start()
    const effects = async (): Promise<number[]> =>
      (await sql.query<{ n: number }>(`SELECT n FROM "${schema}".effect ORDER BY n`)).rows.map(({ n }) => n)
    const sent = (): number[] => got.map(({ n }) => n).toSorted((a, b) => a - b)
    return { binder, effects, got, sent, status: () => binder.binding('numbers.g').status() }
  }

  const numbers = (...ns: readonly number[]) => ns.map((n) => ({ key: `k${n % 2}`, n }))

  test('commit with its effects, once, with any failure and redelivery', async () => {
    for (const retry of ['blocking', 'delayed'] as const) {
      const { binder, effects, got, sent, status } = await processing((n, attempt) => n === 1 && attempt < 3, retry)
      const send = () => binder.sendBatch(channel, numbers(0, 1, 2, 3), ({ n }) => ({ id: `m-${n}` }))
      await send()
      await until('all were handled', () => status().handled === 4)
      await send()
      await until('all were settled', () => status().handled === 8)
      await until('all outputs came', () => got.length >= 8)
      expect(await effects()).toEqual([0, 1, 2, 3])
      expect(sent()).toEqual([0, 1, 2, 3, 100, 101, 102, 103])
      expect(new Set(got.map(({ id }) => id)).size).toBe(8)
    }
  })

  test('are dropped for a message that is dead-lettered, for its outputs or by the handler', async () => {
    const { binder, effects, got, sent, status } = await processing((n) => n === 1)
    await binder.sendBatch(channel, numbers(0, 1, 9, 2))
    await until('all were settled', () => status().handled === 2 && status().deadLettered === 2)
    await until('all outputs came', () => got.length >= 4)
    expect(await effects()).toEqual([0, 2])
    expect(sent()).toEqual([0, 2, 100, 102])
  })
})
