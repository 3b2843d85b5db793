import { createSharedState } from 'concordat/cluster'
import { type SqlClient, silentLogger } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { postgresStateStore } from 'concordat/postgres'
import { afterAll, expect, onTestFinished, test } from 'vitest'
import { freshPglite } from '../../../support/pglite.ts'
import { until } from '../../../support/until.ts'

const database = freshPglite()
const sql = pgliteClient(database)
afterAll(() => database.close())

/** A watcher whose statements on the log pass through `tail`, and a writer. */
async function watcher(schema: string, tail: <T>(run: () => Promise<T>) => Promise<T>) {
  const seen: SqlClient = Object.assign(Object.create(sql) as SqlClient, {
    query: (...args: Parameters<SqlClient['query']>) => {
      const run = () => sql.query(...args)
      return /cluster_(tail|changes)/.test(args[0]) ? tail(run) : run()
    },
  })
  const open = (client: SqlClient) => {
    const store = postgresStateStore({ sql: client, schema, logger: silentLogger, answerMs: 200 })
    const state = createSharedState<number | string>({ store, name: 'n', logger: silentLogger })
    onTestFinished(async () => {
      await state.close()
      await store.close()
    })
    return { store, state }
  }
  const [writer, reader] = [open(sql), open(seen)]
  await writer.store.migrate()
  return { writer: writer.state, reader: reader.state }
}

test('a watcher of a log that was emptied behind it reads the state again, without a storm of statements', async () => {
  let statements = 0
  let isHeld = false
  const { writer, reader } = await watcher('log_gap', async (run) => {
    statements++
    return isHeld ? Promise.reject(new Error('held')) : run()
  })
  await writer.put('k', 1)
  const mirror = await reader.mirror()
  isHeld = true
  await writer.put('k', 2)
  await sql.query('TRUNCATE log_gap.cluster_log')
  isHeld = false
  statements = 0
  await until('it has the new value', () => mirror.get('k')?.value === 2, 5_000)
  expect(statements).toBeLessThan(100)
  await writer.put('k', 3)
  await until('it follows', () => mirror.get('k')?.value === 3)
})

test('a watcher that fell behind by more than the database returns in time catches up in smaller pages', async () => {
  let isHeld = false
  const { writer, reader } = await watcher('log_pages', async (run) => {
    if (isHeld) throw new Error('held')
    const result = await run()
    // As of a database that needs long for many large entries.
    return JSON.stringify(result).length > 2_000_000 ? new Promise<never>(() => {}) : result
  })
  const mirror = await reader.mirror()
  isHeld = true
  for (let n = 1; n <= 100; n++) await writer.put(`k${n}`, 'x'.repeat(60_000))
  isHeld = false
  await until('it has all', () => mirror.entries().length === 100, 20_000)
})
