import { afterAll, beforeAll, it } from 'vitest'
import { expectAsMemory } from '../../support/locks/as-memory.ts'
import { type LocksDatabase, locksDatabase, postgresTable } from '../../support/locks/postgres-table.ts'
import { describeWith } from '../../support/servers/index.ts'

describeWith(['postgres'], 'the functions of PostgreSQL, under any events in any order', () => {
  let database: LocksDatabase
  let table: ReturnType<typeof postgresTable>
  beforeAll(async () => {
    database = await locksDatabase()
    table = postgresTable(database)
  })
  afterAll(async () => {
    await table.close()
    await database.drop()
  })

  it('keep the contract, and answer exactly as the memory server does', () => expectAsMemory(table, false, 300))

  it('do so also when waiters miss their heartbeats', () => expectAsMemory(table, true, 100))
})
