import {
  type Binding,
  createBinder,
  defineChannel,
  into,
  RequestRefused,
  responder,
  route,
  sink,
} from 'concordat/binder'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { createInbox, createOutbox, createRelay } from 'concordat/outbox'
import { describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { uniqueName, until } from './support/messages.ts'
import { embedded, useEmbedded } from './support/pglite.ts'

useEmbedded()

/**
 * Service with an inbox, an outbox and a relay that publishes through its binder. Handlers record their calls in a
 * table.
 */
async function setup(bindingsOf: (at: Database) => readonly Binding[]) {
  const database = await createDatabase()
  const broker = memoryBroker()
  const binder = createBinder({
    service: 'shop',
    transport: memoryTransport({ broker }),
    bindings: bindingsOf(database),
  })
  onTestFinished(() => binder.close())
  await binder.start()
  const relay = createRelay({ outbox: database.outbox, publisher: binder, idlePollMs: 20 })
  onTestFinished(() => relay.close())
  await relay.start()
  return { ...database, broker, binder }
}

type Database = Awaited<ReturnType<typeof createDatabase>>

async function createDatabase() {
  const sql = embedded()
  const schema = uniqueName('compose')
  const outbox = createOutbox({ sql, service: 'shop', schema })
  const inbox = createInbox({ sql, schema, outbox })
  await outbox.migrate()
  await inbox.migrate()
  await sql.query(`CREATE TABLE "${schema}".effect (what text)`)
  const note = async (tx: { query(text: string, values: readonly unknown[]): Promise<unknown> }, what: string) => {
    await tx.query(`INSERT INTO "${schema}".effect VALUES ($1)`, [what])
  }
  const effects = async (): Promise<string[]> =>
    (await sql.query<{ what: string }>(`SELECT what FROM "${schema}".effect ORDER BY what`)).rows.map(
      ({ what }) => what,
    )
  return { sql, outbox, inbox, note, effects }
}

const NO_PAUSE = { initialMs: 0, maxMs: 0 }

describe('a responder with an inbox', () => {
  const asked = defineChannel('prices.asked', { payload: z.object({ sku: z.string() }), groups: ['prices'] })
  const told = defineChannel('prices.told', { payload: z.number() })
  const started = (more: readonly Binding[] = []) =>
    setup(({ inbox, note }) => [
      ...more,
      responder(asked, told, { group: 'prices', inbox, backoff: NO_PAUSE }, async ({ sku }, { tx, attempt }) => {
        await note(tx, `${sku}/${attempt}`)
        if (sku === 'durian') throw new RequestRefused('no_such_sku', 'we do not sell those')
        if (sku === 'flaky' && attempt < 3) throw new Error('not yet')
        return sku.length
      }),
    ])

  async function asking(broker: ReturnType<typeof memoryBroker>) {
    const shop = createBinder({ service: 'asker', transport: memoryTransport({ broker }), replies: [told] })
    onTestFinished(() => shop.close())
    await shop.start()
    return (sku: string, id?: string) => shop.request(asked, { sku }, { id, reply: told, timeoutMs: 20_000 })
  }

  test('answers by the outbox once its effect is committed; a failed attempt before left none', async () => {
    const { broker, effects } = await started()
    const ask = await asking(broker)
    expect(await Promise.all([ask('kiwi'), ask('flaky')])).toEqual([4, 5])
    expect(await effects()).toEqual(['flaky/3', 'kiwi/1'])
  })

  test('refuses without an effect', async () => {
    const { broker, binder, effects } = await started()
    const ask = await asking(broker)
    await expect(ask('durian')).rejects.toMatchObject({ code: 'binder.request_failed', reason: 'no_such_sku' })
    expect(await effects()).toEqual([])
    expect(binder.binding('prices.asked.prices').status().deadLettered).toBe(0)
  })

  test('reports to a repeated request under the same id that it was handled, and does not handle it again', async () => {
    const { broker, binder, effects } = await started()
    const ask = await asking(broker)
    expect(await ask('kiwi', 'r-1')).toBe(4)
    await expect(ask('kiwi', 'r-1')).rejects.toMatchObject({ reason: 'binder.request_handled', retryable: false })
    expect(await effects()).toEqual(['kiwi/1'])
    await expect(ask('durian', 'r-2')).rejects.toMatchObject({ reason: 'no_such_sku' })
    await expect(ask('durian', 'r-2')).rejects.toMatchObject({ reason: 'no_such_sku' })
    expect(binder.binding('prices.asked.prices').status()).toMatchObject({ deadLettered: 0 })
  })

  test('answers a request that comes twice once', async () => {
    const replies: unknown[] = []
    const address = defineChannel('prices.told.x', { payload: z.number(), groups: ['g'] })
    const { binder, effects, outbox } = await started([
      sink(address, { group: 'g' }, (cents) => void replies.push(cents)),
    ])
    const headers = { 'request-reply-to': 'prices.told.x', 'request-id': 'i/1' }
    const { id } = await binder.send(asked, { sku: 'kiwi' }, { headers })
    await binder.send(asked, { sku: 'kiwi' }, { headers, id })
    const status = () => binder.binding('prices.asked.prices').status()
    await until(() => status().handled === 2, 'both were settled')
    await until(async () => (await outbox.stats()).pending === 0, 'the outbox is empty')
    await until(() => replies.length > 0, 'the answer came')
    expect(replies).toEqual([4])
    expect(await effects()).toEqual(['kiwi/1'])
  })
})

describe('a route with an inbox', () => {
  const orders = defineChannel('orders', { payload: z.object({ n: z.number(), kind: z.string() }), groups: ['g'] })
  const shipped = defineChannel('shipped', { payload: z.number(), groups: ['g'] })

  test('has one transaction per message for its handler, its route into a channel and its discards', async () => {
    const got: number[] = []
    const { binder, effects } = await setup(({ inbox, note }) => [
      route(orders, {
        group: 'g',
        inbox,
        backoff: NO_PAUSE,
        by: ({ kind }) => kind,
        routes: {
          note: async ({ n }, { tx, attempt }) => {
            await note(tx, `${n}/${attempt}`)
            if (attempt < 2) throw new Error('rolled back')
          },
          ship: into(shipped, ({ n }) => n),
        },
        default: 'discard',
      }),
      sink(shipped, { group: 'g' }, (n) => void got.push(n)),
    ])
    const send = () =>
      binder.sendBatch(
        orders,
        ['note', 'ship', 'other'].map((kind, n) => ({ n, kind })),
        ({ n }) => ({ id: `m-${n}` }),
      )
    const status = () => binder.binding('orders.g').status()
    await send()
    await until(() => status().handled === 2 && status().discarded === 1 && got.length === 1, 'all were settled')
    await send()
    await until(() => status().handled + status().discarded === 6, 'the second ones were settled')
    await binder.send(orders, { n: 7, kind: 'ship' })
    await until(() => got.includes(7), 'the last one came')
    expect(got).toEqual([1, 7])
    expect(await effects()).toEqual(['0/2'])
  })
})

describe('a payload version', () => {
  const older = defineChannel('carts', { payload: z.object({ sku: z.string() }), version: 1, groups: ['g'] })
  const newest = defineChannel('carts', {
    payload: z.object({ skus: z.array(z.string()) }),
    version: 2,
    upcasts: { 1: (old) => ({ skus: [(old as { sku: string }).sku] }) },
    groups: ['g'],
  })
  const next = defineChannel('carts', {
    payload: z.object({ all: z.array(z.string()) }),
    version: 3,
    upcasts: { 1: (old) => old, 2: (old) => old },
    groups: ['g'],
  })

  test('stays with its row: an older one is upgraded, a newer one is a dead letter with its version', async () => {
    const got: unknown[] = []
    const dead: unknown[] = []
    const letters = defineChannel('carts.g.dlq', { payload: z.unknown(), version: 3, partitions: 1 })
    const { sql, outbox } = await setup(() => [
      sink(newest, { group: 'g' }, ({ skus }, { headers }) => void got.push([skus, headers])),
      sink(letters, { group: 'redrive' }, (payload, { headers }) => {
        dead.push([payload, headers['payload-version'], headers['dead-letter-error-code']])
      }),
    ])
    await sql.transaction(async (tx) => {
      await outbox.add(tx, older, { sku: 'kiwi' }, { key: 'k' })
      await outbox.add(tx, newest, { skus: ['fig'] }, { key: 'k', headers: { tenant: 'acme' } })
      await outbox.add(tx, next, { all: ['plum'] }, { key: 'k' })
    })
    await until(() => got.length === 2 && dead.length === 1, 'all came')
    expect(got).toEqual([
      [['kiwi'], {}],
      [['fig'], { tenant: 'acme', 'payload-version': 2 }],
    ])
    expect(dead).toEqual([[{ all: ['plum'] }, 3, 'binder.payload_version']])
  })
})
