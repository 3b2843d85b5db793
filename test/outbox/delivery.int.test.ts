import { afterAll, beforeAll } from 'vitest'
import { outboxConformance } from '../conformance/outbox.ts'
import { describeWith } from '../support/servers/index.ts'
import { createDatabase, type TestDatabase } from './support/postgres.ts'

describeWith(['postgres'], 'outbox on a PostgreSQL server', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createDatabase()
  })
  afterAll(() => database.drop())

  outboxConformance(() => database.sql)
})
