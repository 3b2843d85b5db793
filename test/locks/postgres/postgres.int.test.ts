import { afterAll, beforeAll } from 'vitest'
import { locksConformance } from '../../conformance/locks.ts'
import { type LocksDatabase, leftovers, locksDatabase } from '../../support/locks/postgres-table.ts'
import { describeWith } from '../../support/servers/index.ts'

describeWith(['postgres'], 'PostgreSQL', () => {
  let database: LocksDatabase
  beforeAll(async () => {
    database = await locksDatabase()
  })
  afterAll(() => database.drop())

  for (const listens of [true, false])
    locksConformance(`PostgreSQL, ${listens ? 'with a listener' : 'without one'},`, async () => ({
      contender: (options) => database.contender({ listens, ...options }),
      leftovers: () => leftovers(database.sql),
      close: async () => {},
    }))
})
