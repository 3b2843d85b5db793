import { pgliteClient } from 'concordat/core/pglite'
import { postgresLocks } from 'concordat/postgres'
import { locksConformance } from '../../conformance/locks.ts'
import { leftovers } from '../../support/locks/postgres-table.ts'
import { freshPglite } from '../../support/pglite.ts'

locksConformance('PGlite', async () => {
  const database = freshPglite()
  const sql = pgliteClient(database)
  await postgresLocks({ sql }).migrate()
  return {
    contender: (options) => postgresLocks({ ...options, sql }),
    leftovers: () => leftovers(sql),
    close: () => database.close(),
  }
})
