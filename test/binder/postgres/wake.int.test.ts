import { createBinder, defineChannel, encodeMessage, sink } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { pgClient, pgListener, pgTransaction } from 'concordat/core/pg'
import { postgresTransport } from 'concordat/postgres'
import pg from 'pg'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { createDatabase, type TestDatabase } from '../../outbox/support/postgres.ts'
import { expectWithin } from '../../support/expect-within.ts'
import { describeWith } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'

const numbers = defineChannel('numbers', { payload: z.object({ n: z.number() }), partitions: 1, groups: ['g'] })

describeWith(['postgres'], 'a reader that was woken', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createDatabase()
  })
  afterAll(() => database.drop())

  /** The same client, with a flag that is set when a poll has ended the pause after which the next one is 10 s. */
  function watching(): { readonly sql: SqlClient; readonly isIdle: () => boolean } {
    let [lastAt, pause] = [performance.now(), 0]
    const sql: SqlClient = {
      ...database.sql,
      query: (text, parameters) => {
        if (text.includes('transport_pending')) [lastAt, pause] = [performance.now(), performance.now() - lastAt]
        return database.sql.query(text, parameters)
      },
    }
    return { sql, isIdle: () => pause > 4_500 && performance.now() - lastAt < 500 }
  }

  it('polls again at once while another session assigns positions, not after pollMs', async () => {
    const { sql, isIdle } = watching()
    const transport = postgresTransport({ sql, pollMs: 60_000, notifyEveryMs: 0 })
    let handledAt = 0
    const binding = sink(numbers, { group: 'g' }, () => {
      handledAt = performance.now()
    })
    const binder = createBinder({ service: 'test', transport, sends: [numbers], bindings: [binding] })
    onTestFinished(() => binder.close())
    await binder.start()
    await binder.ready()
    await until('it is idle', isIdle, 40_000)
    const other = new pg.Client({ connectionString: database.url })
    await other.connect()
    await other.query('BEGIN')
    await other.query(
      `SELECT pg_advisory_xact_lock((r.tableoid::bigint - 2147483648)::int, p.id)
       FROM concordat.transport_ring r, concordat.transport_partition p`,
    )
    await binder.send(numbers, { n: 1 })
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(handledAt).toBe(0)
    const freedAt = performance.now()
    await other.query('COMMIT')
    await other.end()
    await until('it is handled', () => handledAt > 0, 20_000)
    await expectWithin(handledAt - freedAt, 2_000)
  }, 90_000)

  it('polls until the message has come after a notification before the commit of its transaction', async () => {
    const { sql, isIdle } = watching()
    const listener = pgListener({ connect: () => new pg.Client({ connectionString: database.url }) })
    const reading = postgresTransport({ sql, listener, pollMs: 60_000, schema: 'announced' })
    let handledAt = 0
    const binding = sink(numbers, { group: 'g' }, () => void (handledAt = performance.now()))
    const reader = createBinder({ service: 'reader', transport: reading, bindings: [binding] })
    const pool = new pg.Pool({ connectionString: database.url, max: 4 })
    const writing = postgresTransport({ sql: pgClient(pool), schema: 'announced' })
    const writer = createBinder({ service: 'writer', transport: writing, sends: [numbers] })
    onTestFinished(async () => {
      await Promise.all([reader.close(), writer.close()])
      await Promise.all([listener.close(), pool.end()])
    })
    await reader.start()
    await writer.start()
    await reader.ready()
    await writer.send(numbers, { n: 0 })
    await until('it reads', () => handledAt > 0)
    handledAt = 0
    await until('it is idle', isIdle, 40_000)
    const client = await pool.connect()
    await client.query('BEGIN')
    await writing.publishIn?.(pgTransaction(client), [await encodeMessage(numbers, { n: 1 }, 'writer')])
    await new Promise((resolve) => setTimeout(resolve, 500))
    expect(handledAt).toBe(0)
    const committedAt = performance.now()
    await client.query('COMMIT')
    client.release()
    await until('it is handled', () => handledAt > 0, 20_000)
    await expectWithin(handledAt - committedAt, 5_000)
  }, 90_000)
})
