/**
 * PostgreSQL compiles a statement (JIT) that it takes for expensive, for up to a second. It does so for small tables that were never
 * analysed, whose size it guesses.
 */
import { createOperator } from '@concordat/cli'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { postgresTransport } from 'concordat/postgres'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { createDatabase, type TestDatabase } from '../outbox/support/postgres.ts'
import { describeWith } from '../support/servers/index.ts'

const WITHOUT = 'PostgreSQL was built without a compiler, or the role is no superuser'
/** The server explains every statement, with those inside of functions. It compiles at half the usual cost, for the tables are empty. */
const EXPLAIN_ALL = [
  'session_preload_libraries=auto_explain',
  'auto_explain.log_level=notice',
  'auto_explain.log_format=json',
  'auto_explain.log_nested_statements=on',
  'auto_explain.log_min_duration=0',
  'jit_above_cost=50000',
]
  .map((setting) => `-c ${setting}`)
  .join(' ')
const placed = defineChannel('orders.placed', { payload: z.object({}), partitions: 2 })

describeWith(['postgres'], 'statements on small tables', () => {
  let database: TestDatabase
  /** Plans of statements that PostgreSQL compiles. */
  const compiled: string[] = []
  let asked = 0
  let canCompile = false
  let pool: pg.Pool
  let sql: SqlClient

  beforeAll(async () => {
    database = await createDatabase()
    const { rows: built } = await database.pool.query(
      'SELECT pg_jit_available() AND rolsuper AS jit FROM pg_roles WHERE rolname = current_user',
    )
    canCompile = built[0]?.['jit'] === true
    pool = new pg.Pool({ connectionString: database.url, max: 4, ...(canCompile && { options: EXPLAIN_ALL }) })
    pool.on('connect', (connection) => connection.on('notice', notice))
    sql = pgClient(pool)
    await createOperator({ sql }).migrate({ by: 'ann', reason: 'a test', partitions: 4 })
  })
  afterAll(async () => {
    await pool.end()
    await database.drop()
  })

  function notice({ message = '' }: { readonly message?: string | undefined }): void {
    asked++
    if (message.includes('"JIT"')) compiled.push(message)
  }

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
