/**
 * PostgreSQL compiles a statement (JIT) that it takes for expensive, for up to a second. It does so for small tables that were never
 * analysed, whose size it guesses.
 */
import { createOperator } from '@concordat/cli'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { postgresTransport } from 'concordat/postgres'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { createDatabase, type TestDatabase } from '../outbox/support/postgres.ts'
import { describeWith } from '../support/servers/index.ts'

const WITHOUT = 'this PostgreSQL was built without a compiler'
const placed = defineChannel('orders.placed', { payload: z.object({}), partitions: 2 })

describeWith(['postgres'], 'statements on small tables', () => {
  let database: TestDatabase
  /** Statements that PostgreSQL would compile. */
  const compiled: string[] = []
  let asked = 0
  let canCompile = false
  let sql: SqlClient

  beforeAll(async () => {
    database = await createDatabase()
    const client = pgClient(database.pool)
    const { rows: built } = await client.query('SELECT pg_jit_available() AS jit')
    canCompile = built[0]?.['jit'] === true
    const query: SqlClient['query'] = async (text, parameters) => {
      if (/^\s*(?:SELECT|WITH)\b/.test(text)) {
        asked++
        const { rows } = await database.pool.query(`EXPLAIN (FORMAT JSON) ${text}`, parameters?.slice())
        if (JSON.stringify(rows).includes('"JIT"')) compiled.push(text)
      }
      return client.query(text, parameters)
    }
    sql = new Proxy(client, {
      get: (target, name) => {
        if (name === 'query') return query
        const value: unknown = Reflect.get(target, name)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
    await createOperator({ sql }).migrate({ by: 'ann', reason: 'a test', partitions: 4 })
  })
  afterAll(() => database.drop())

  test('of a transport that starts are not compiled', async ({ skip }) => {
    skip(!canCompile, WITHOUT)
    const binder = createBinder({
      service: 'shop',
      transport: postgresTransport({ sql }),
      sends: [placed],
      bindings: [sink(placed, { group: 'stock' }, () => {})],
    })
    await binder.start()
    await binder.ready()
    await binder.close()
    expect({ compiled, asked: asked > 5 }).toEqual({ compiled: [], asked: true })
  })

  test('of an operator who looks at everything are not compiled', async ({ skip }) => {
    skip(!canCompile, WITHOUT)
    const operator = createOperator({ sql })
    const before = asked
    expect(await operator.groups()).toMatchObject([{ group: 'stock' }, { group: 'redrive' }])
    for (const look of [
      () => operator.doctor(),
      () => operator.sagas.list(),
      () => operator.sagas.count(),
      () => operator.outbox.stats(),
      () => operator.outbox.failing(),
      () => operator.outbox.parked(),
      () => operator.inboxes(),
      () => operator.locks.list(),
      () => operator.leaders.list(),
      () => operator.undo.open(),
      () => operator.prepared(),
      () => operator.audit(),
    ])
      await look()
    expect({ compiled, asked: asked - before > 12 }).toEqual({ compiled: [], asked: true })
  })
})
