import { createMembership } from 'concordat/cluster'
import { type SqlClient, silentLogger } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { postgresStateStore } from 'concordat/postgres'
import { afterAll, expect, onTestFinished, test } from 'vitest'
import { freshPglite } from '../../../support/pglite.ts'
import { until } from '../../../support/until.ts'

const HOUR_US = 3_600_000_000

const database = freshPglite()
afterAll(() => database.close())

/** Client whose process can be killed: from then on no statement of it arrives. */
function mortal(sql: SqlClient) {
  const life = { isOver: false }
  const over = async (): Promise<never> => Promise.reject(new Error('killed'))
  const client: SqlClient = Object.assign(Object.create(sql) as SqlClient, {
    query: (...args: Parameters<SqlClient['query']>) => (life.isOver ? over() : sql.query(...args)),
    transaction: (...args: Parameters<SqlClient['transaction']>) => (life.isOver ? over() : sql.transaction(...args)),
  })
  return { client, life }
}

test('a member that dies after the clock of the server was set back is gone in its time, seen by an observer alone', async () => {
  const sql = pgliteClient(database)
  const { client, life } = mortal(sql)
  const store = (of: SqlClient) => postgresStateStore({ sql: of, schema: 'clock_back', logger: silentLogger })
  const membership = (of: SqlClient, instance: string) =>
    createMembership({
      store: store(of),
      cluster: 'shop',
      service: 'pay',
      instance,
      heartbeatMs: 200,
      logger: silentLogger,
    })
  await store(sql).migrate()
  const [a, observer] = [membership(client, 'a'), membership(sql, 'o')]
  onTestFinished(async () => {
    await observer.close()
    life.isOver = false
    await a.close()
  })
  await a.join()
  await observer.ready()
  expect(observer.members().map(({ instance }) => instance)).toEqual(['a'])
  const head = `clock_back.cluster_head WHERE swept_us IS NOT NULL`
  await until('members were looked at', async () => (await sql.query(`SELECT FROM ${head}`)).rowCount > 0)
  life.isOver = true
  // The stored times are those of a clock that was set back by an hour.
  await sql.query(`UPDATE clock_back.cluster_member SET due_us = due_us + ${HOUR_US}`)
  await sql.query(
    `UPDATE clock_back.cluster_head SET swept_us = swept_us + ${HOUR_US}, next_due_us = next_due_us + ${HOUR_US}`,
  )
  await until('it is gone', () => observer.members().length === 0)
  expect(observer.health().status).toBe('up')
})
