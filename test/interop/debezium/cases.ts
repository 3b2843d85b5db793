/** Debezium's outbox event router in the relay's place, configured as docs/messages/exactly-once.md says, beside a relay. */
import { isDeepStrictEqual } from 'node:util'
import { type Channel, createBinder, defineChannel, type HandlerContext, sink } from 'concordat/binder'
import { pgClient } from 'concordat/core/pg'
import { createInbox, createOutbox, createRelay, type Outbox } from 'concordat/outbox'
import { defineSaga, participant } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import { createService } from 'concordat/service'
import pg from 'pg'
import { z } from 'zod'
import { kafkaOn } from '../../support/kafka-driver.ts'
import { startServer } from '../../support/servers/start.ts'
import { until } from '../../support/until.ts'
import type { Report } from '../report.ts'
import { type Connect, prepareConnect } from './connect.ts'

const BYTES = new Uint8Array([0, 255])
const HEADERS = { tenant: 'größe', retries: 7, zero: -0, vip: true, none: null, raw: BYTES, id: 'own' }
const TIME = Date.UTC(2026, 0, 2, 3, 4, 5, 678)
const MESSAGES = 20

interface World {
  readonly url: string
  readonly pool: pg.Pool
  readonly outbox: Outbox
  readonly connect: Connect
}

export async function debeziumCases(report: Report, url: string): Promise<void> {
  const server = await startServer('postgres', { settings: { wal_level: 'logical' } })
  const pool = new pg.Pool({ connectionString: server.url, max: 10 })
  const sql = pgClient(pool)
  const outbox = createOutbox({ sql, service: 'shop', schema: 'captured' })
  await outbox.migrate()
  const connect = await prepareConnect(url, new URL(server.url), 'captured')
  try {
    await connect.start()
    const world = { url, pool, outbox, connect }
    await besideARelay(report, world)
    await killed(report, world)
    await sagaThrough(report, world)
  } finally {
    await connect.stop()
    await pool.end()
    await server.stop()
  }
}

const seenBy = (payload: unknown, { id, source, key, time, headers }: HandlerContext) => ({
  payload,
  id,
  source,
  key,
  time,
  headers: { ...headers, raw: [...((headers['raw'] as Uint8Array | undefined) ?? [])] },
})

const byId = (a: { readonly id: string }, b: { readonly id: string }): number => a.id.localeCompare(b.id)

/** Sends the same messages through a relay and through Debezium, and compares the handlers' view. */
async function besideARelay(report: Report, { url, pool, outbox }: World): Promise<void> {
  const sql = pgClient(pool)
  const options = { payload: z.unknown(), tombstones: true, partitions: 1, key: () => 'k-ö' } as const
  const relayed = defineChannel('dz.relayed', options)
  const captured = defineChannel('dz.captured', options)
  const ofRelay = createOutbox({ sql, service: 'shop', schema: 'relayed' })
  await ofRelay.migrate()
  const seen = new Map<string, Array<ReturnType<typeof seenBy>>>()
  const keep = (channel: Channel<unknown>) => {
    const list: Array<ReturnType<typeof seenBy>> = []
    seen.set(channel.name, list)
    return sink(channel, { group: 'g' }, (payload, context) => {
      list.push(seenBy(payload, context))
    })
  }
  const binder = createBinder({ service: 'reader', transport: kafkaOn(url), bindings: [keep(relayed), keep(captured)] })
  await binder.start()
  await binder.ready()
  const relay = createRelay({ outbox: ofRelay, publisher: binder })
  await relay.start()
  for (const [to, channel] of [
    [ofRelay, relayed],
    [outbox, captured],
  ] as const) {
    await sql.transaction(async (tx) => {
      await to.add(tx, channel, { n: 1 }, { id: 'order 1', time: TIME, headers: HEADERS })
      await to.add(tx, channel, { n: 2 }, { id: 'order 2', time: TIME + 1, key: null })
    })
  }
  await report.check(
    'a handler sees of Debezium what it sees of the relay: ids, source, key, time, typed headers',
    true,
    () => {
      const [theirs, ours] = ['dz.captured', 'dz.relayed'].map((name) => seen.get(name)?.toSorted(byId))
      return isDeepStrictEqual(theirs, ours) || [theirs, ours]
    },
    () => [...seen.values()].every((list) => list.length >= 2),
  )
  await relay.close()
  await binder.close()
}

/** An inbox behind Connect, which is killed before it has written how far it came, and so sends everything again. */
async function killed(report: Report, { url, pool, outbox, connect }: World): Promise<void> {
  const sql = pgClient(pool)
  const orders = defineChannel('dz.orders', { payload: z.object({ n: z.number() }), partitions: 1 })
  const inbox = createInbox({ sql, schema: 'captured' })
  await inbox.migrate()
  await pool.query('CREATE TABLE captured.effect (n int)')
  let records = 0
  const apply = sink(orders, { group: 'g', inbox }, async ({ n }, { tx }) => {
    await tx.query('INSERT INTO captured.effect VALUES ($1)', [n])
  })
  const count = sink(orders, { group: 'count' }, () => void records++)
  const binder = createBinder({ service: 'reader', transport: kafkaOn(url), bindings: [apply, count] })
  await binder.start()
  const add = async (from: number): Promise<void> => {
    for (let n = from; n < from + MESSAGES; n++) await sql.transaction((tx) => outbox.add(tx, orders, { n }))
  }
  await add(0)
  await until('Debezium has sent the first ones', () => records >= MESSAGES, 60_000)
  await connect.kill()
  await add(MESSAGES)
  await connect.start()
  const applied = async () => {
    const { rows } = await pool.query(
      'SELECT count(*)::int AS all, count(DISTINCT n)::int AS each FROM captured.effect',
    )
    return rows[0] as { readonly all: number; readonly each: number }
  }
  const isOver = async () => records > 2 * MESSAGES && (await applied()).each >= 2 * MESSAGES
  await until('Debezium has sent all, some of it again', isOver, 90_000).catch(() => {})
  await report.check(
    'an inbox applies each message once, though Connect was killed and sent some of them again',
    { all: 2 * MESSAGES, each: 2 * MESSAGES, wereRepeated: true },
    async () => ({ ...(await applied()), wereRepeated: records > 2 * MESSAGES }),
  )
  await binder.close()
}

/** Sends the commands of a saga through Debezium; a service of its own answers them. */
async function sagaThrough(report: Report, { url, pool, outbox }: World): Promise<void> {
  const sql = pgClient(pool)
  const charges = defineChannel('dz.charges', { payload: z.object({ n: z.number() }), partitions: 1 })
  const order = defineSaga('order', { version: 1, input: z.object({ n: z.number() }) }).command('charge', {
    to: charges,
    request: ({ input }) => input,
    reply: z.object({ receipt: z.string() }),
    compensate: 'none',
  })
  const pay = participant(
    charges,
    { group: 'pay', effects: 'tx' },
    { invoke: ({ n }) => ({ receipt: `r-${n}` }), compensate: () => {} },
  )
  const payments = createService({
    name: 'payments',
    sql,
    schema: 'payments',
    transport: kafkaOn(url),
    bindings: [pay],
  })
  await payments.start()
  const coordinator = createCoordinator({ service: 'shop', sql, outbox, sagas: [order], schema: 'captured' })
  await coordinator.migrate()
  const binder = createBinder({ service: 'shop', transport: kafkaOn(url), bindings: coordinator.bindings })
  await binder.start()
  await coordinator.run()
  await report.check("a saga's commands arrive through Debezium", { status: 'completed', receipt: 'r-1' }, async () => {
    const run = await coordinator.start(order, { id: 'o-1', input: { n: 1 } })
    const { status, results } = await run.outcome({ timeoutMs: 60_000 })
    return { status, receipt: results.charge?.receipt }
  })
  await coordinator.close()
  await binder.close()
  await payments.close()
}
