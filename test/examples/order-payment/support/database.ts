import { PGlite } from '@electric-sql/pglite'
import type { SqlClient } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { afterAll, beforeAll } from 'vitest'

/** Provides one PGlite for the tests of a file; each uses a schema of its own. */
export function useDatabase(): { readonly sql: SqlClient; newSchema(): string } {
  let database: PGlite | undefined
  let sql: SqlClient | undefined
  let schemas = 0
  beforeAll(async () => {
    database = await PGlite.create()
    sql = pgliteClient(database)
  }, 60_000)
  afterAll(() => database?.close())
  return {
    get sql() {
      if (sql === undefined) throw new Error('only inside a test')
      return sql
    },
    newSchema: () => `s${++schemas}`,
  }
}
