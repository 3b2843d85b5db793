import { createBinder, defineChannel, sink } from 'concordat/binder'
import { createOutbox, createRelay } from 'concordat/outbox'
import { postgresTransport } from 'concordat/postgres'
import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { uniqueName, until } from './support/messages.ts'
import { embedded, useEmbedded } from './support/pglite.ts'

useEmbedded()

const Numbered = z.object({ n: z.number().int() })
const options = { payload: Numbered, key: ({ n }: { n: number }) => String(n % 3), groups: ['g'], partitions: 2 }

/** Rows from a release without a transport in this database, then the release whose channel is transactional. */
async function setup(count: number) {
  const sql = embedded()
  const schema = uniqueName('left')
  const before = createOutbox({ sql, service: 'test', schema, partitions: 2 })
  await before.migrate()
  const plain = defineChannel('orders', options)
  await sql.transaction(async (tx) => {
    for (let n = 0; n < count; n++) await before.add(tx, plain, { n })
  })
  const channel = defineChannel('orders', { ...options, transactional: true })
  const transport = postgresTransport({ sql, schema, pollMs: 20, maxMessageBytes: 1_024 })
  const outbox = createOutbox({ sql, service: 'test', schema, partitions: 2, transport })
  const handled: number[] = []
  const binding = sink(channel, { group: 'g', settlesIn: sql }, ({ n }) => void handled.push(n))
  const binder = createBinder({ service: 'test', transport, bindings: [binding] })
  const relay = createRelay({ outbox, publisher: binder, idlePollMs: 20, backoff: { initialMs: 1, maxMs: 1 } })
  onTestFinished(async () => {
    await relay.close()
    await binder.close()
  })
  await binder.start()
  return { sql, schema, before, plain, channel, outbox, relay, handled }
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, n) => n)

test('rows left in the outbox when their channel becomes transactional are moved, each once and in order', async () => {
  const t = await setup(30)
  await t.relay.start()
  await until(() => t.handled.length >= 30, 'all are handled')
  expect(await t.outbox.stats()).toMatchObject({ pending: 0, parked: 0 })
  expect(t.handled.toSorted((a, b) => a - b)).toEqual(upTo(30))
  for (const key of upTo(3)) {
    const ofKey = t.handled.filter((n) => n % 3 === key)
    expect(ofKey).toEqual(ofKey.toSorted((a, b) => a - b))
  }
})

test('a message sent in a transaction does not overtake rows of its key that are left in the outbox', async () => {
  const t = await setup(6)
  await t.outbox.ready()
  await t.sql.transaction(async (tx) => {
    for (const n of [6, 7, 8]) await t.outbox.add(tx, t.channel, { n })
  })
  await t.relay.start()
  await until(() => t.handled.length >= 9, 'all are handled')
  for (const key of upTo(3)) expect(t.handled.filter((n) => n % 3 === key)).toEqual([key, key + 3, key + 6])
})

test('a row that the log refuses is parked alone', async () => {
  const t = await setup(3)
  const large = { ...(await t.before.encode(t.plain, { n: 99 }, { key: 'large' })), body: new Uint8Array(2_000) }
  await t.sql.transaction((tx) => t.before.addEncoded(tx, [large]))
  await t.relay.start()
  await until(async () => t.handled.length >= 3 && (await t.outbox.parked()).length === 1, 'one is parked')
  expect(await t.outbox.parked()).toMatchObject([{ message: { id: large.id } }])
})
