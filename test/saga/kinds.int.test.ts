/** Guarantees of every kind of transaction on a server: the kinds that prepare, and undo. */
import { pgClient } from 'concordat/core/pg'
import pg from 'pg'
import { afterAll, describe } from 'vitest'
import { describeWith, serverUrl } from '../support/servers/index.ts'
import { atNight } from '../support/suite/night.ts'
import { commandsOf, formOf } from './support/kinds-suite.ts'

describeWith(['postgres'], 'kinds of transaction that prepare, and undo', () => {
  const pool = new pg.Pool({ connectionString: serverUrl('postgres'), max: 10 })
  const sql = pgClient(pool)
  const prepared = async (id: string): Promise<string[]> => {
    const { rows } = await sql.query<{ gid: string }>(
      `SELECT gid FROM pg_prepared_xacts
       WHERE database = current_database() AND starts_with(gid, 'concordat:') AND strpos(gid, $1) > 0`,
      [id],
    )
    return rows.map(({ gid }) => gid)
  }
  const endPrepared = async (): Promise<void> => {
    for (const gid of await prepared('')) await sql.query(`ROLLBACK PREPARED '${gid}'`)
  }
  const database = { sql, prepared, endPrepared }
  afterAll(async () => {
    await sql.query('DROP TABLE kinds_ledger')
    await pool.end()
  })
  for (const name of ['xa', 'undo'] as const)
    for (const way of ['message', 'http'] as const) describe(`${name}, ${way}`, () => commandsOf(name, database, way))
  // In merge runs the forms of undo run on PGlite: kinds.test.ts.
  for (const name of ['xa', 'codeXa', 'xaByHttp', 'xaLocal', ...atNight('undo', 'codeUndo')] as const)
    describe(name, () => formOf(name, database))
})
