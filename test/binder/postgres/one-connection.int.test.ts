/** Handlers that send outside of their transaction, through the pool whose connections they hold. */
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { silentLogger } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { createInbox } from 'concordat/outbox'
import { postgresTransport } from 'concordat/postgres'
import pg from 'pg'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { createDatabase, type TestDatabase } from '../../outbox/support/postgres.ts'
import { describeWith } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'

const Payload = z.object({ n: z.number() })

describeWith(['postgres'], 'a transport that shares the pool of its handlers', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createDatabase()
  })
  afterAll(() => database.drop())

  /** A service whose handler sends to `copies.<max>` in the transaction of its inbox. */
  async function start(max: number, concurrency: number) {
    const pool = new pg.Pool({ connectionString: database.url, max, connectionTimeoutMillis: 300 })
    const sql = pgClient(pool)
    const orders = defineChannel(`orders.${max}`, { payload: Payload, partitions: 1, groups: ['g'] })
    const copies = defineChannel(`copies.${max}`, { payload: Payload, partitions: 1 })
    const inbox = createInbox({ sql })
    await inbox.migrate()
    let calls = 0
    const handler = sink(orders, { group: 'g', inbox, concurrency, maxAttempts: 3 }, async ({ n }, { tx }) => {
      calls++
      await tx.query('SELECT 1')
      await binder.send(copies, { n })
    })
    const transport = postgresTransport({ sql, pollMs: 20 })
    const binder = createBinder({
      service: 'small',
      transport,
      bindings: [handler],
      sends: [copies],
      logger: silentLogger,
    })
    const outside = postgresTransport({ sql: database.sql })
    const sender = createBinder({
      service: 'sender',
      transport: outside,
      bindings: [],
      sends: [orders],
      logger: silentLogger,
    })
    onTestFinished(async () => {
      for (const each of [binder, transport, sender, outside]) await each.close()
      await pool.end()
    })
    await binder.start()
    await sender.start()
    return { sender, orders, copies, calls: () => calls }
  }

  const messagesOf = async (destination: string): Promise<number> => {
    const { rows } = await database.sql.query(
      `SELECT l.seq FROM concordat.transport_log l JOIN concordat.transport_partition p ON p.id = l.part WHERE p.destination = $1`,
      [destination],
    )
    return rows.length
  }

  test('of one connection makes the message a dead letter after one call', async () => {
    const { sender, orders, copies, calls } = await start(1, 1)
    await sender.send(orders, { n: 1 })
    await until('it is a dead letter', async () => (await messagesOf('orders.1.g.dlq')) === 1)
    expect(calls()).toBe(1)
    expect(await messagesOf(copies.name)).toBe(0)
  })

  test('of as many connections as handlers gets through when the first handler gives its connection back', async () => {
    const { sender, orders, copies } = await start(3, 3)
    for (let n = 0; n < 9; n++) await sender.send(orders, { n }, { key: `${n}` })
    await until('all are copied', async () => (await messagesOf(copies.name)) >= 9, 60_000)
  })
})
