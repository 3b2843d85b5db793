import { afterAll, beforeAll, expect, test } from 'vitest'
import { createPlainDatabase, type TestDatabase } from '../outbox/support/postgres.ts'
import { describeWith } from '../support/servers/index.ts'
import { until } from '../support/until.ts'

describeWith(['postgres'], 'a session that the server ends between two statements', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createPlainDatabase()
  })
  afterAll(() => database.drop())

  const limited = (then: 'a statement' | 'the commit') =>
    database.sql.transaction(async (tx) => {
      const { rows } = await tx.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
      const pid = rows[0]?.pid
      await tx.query(`SET LOCAL idle_in_transaction_session_timeout = 50`)
      await until('the server has ended it', async () => {
        const left = await database.sql.query('SELECT FROM pg_stat_activity WHERE pid = $1', [pid])
        return left.rowCount === 0
      })
      if (then === 'a statement') await tx.query('SELECT 1')
    })

  test.each(['a statement', 'the commit'] as const)('fails %s with the server’s own reason', async (then) => {
    await expect(limited(then)).rejects.toMatchObject({
      message: expect.stringContaining('terminating connection due to idle-in-transaction timeout'),
      cause: { code: '25P03' },
    })
  })
})
