import { createBinder, defineChannel, sink } from 'concordat/binder'
import { postgresTransport } from 'concordat/binder/postgres'
import type { SqlClient } from 'concordat/core'
import pg from 'pg'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { createDatabase, type TestDatabase } from '../../outbox/support/postgres.ts'
import { describeWith } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'

const numbers = defineChannel('numbers', { payload: z.object({ n: z.number() }), partitions: 1, groups: ['g'] })

describeWith(['postgres'], 'a reader that was woken', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createDatabase()
  })
  afterAll(() => database.drop())

  it('while somebody else gives positions looks again at once, not after pollMs', async () => {
    let looks = 0
    const sql: SqlClient = {
      ...database.sql,
      query: (text, parameters) => {
        if (text.includes('transport_pending')) looks++
        return database.sql.query(text, parameters)
      },
    }
    const transport = postgresTransport({ sql, pollMs: 60_000, notifyEveryMs: 0 })
    let handledAt = 0
    const binding = sink(numbers, { group: 'g' }, () => {
      handledAt = performance.now()
    })
    const binder = createBinder({ service: 'test', transport, sends: [numbers], bindings: [binding] })
    onTestFinished(() => binder.close())
    await binder.start()
    await binder.ready()
    // The pauses have grown to 10 s by now.
    await until('it is idle', () => looks >= 11, 30_000)
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
    expect(handledAt - freedAt).toBeLessThan(2_000)
  }, 60_000)
})
