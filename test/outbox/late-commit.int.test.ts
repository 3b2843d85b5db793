// oxlint-disable no-restricted-imports -- inside of the outbox: two processes that change a channel to a log of the database
import type { SqlExecutor, SqlTransaction } from 'concordat/core'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { OutboxToLogOrder } from '../../outbox/outbox-to-log-order.ts'
import { outboxTables } from '../../outbox/tables.ts'
import { describeWith } from '../support/servers/index.ts'
import { message, until } from './support/messages.ts'
import { createDatabase, type TestDatabase } from './support/postgres.ts'
import { setupOutboxOn } from './support/setup.ts'

/** Longer than a row is passed over while its destination is unavailable. */
const OPEN_MS = 7_000

describeWith(['postgres'], 'a transaction that stays open while another destination is away', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createDatabase()
  })
  afterAll(() => database.drop())

  test('leaves before the one that waited for it, and both at once', async () => {
    await using t = await setupOutboxOn(database.sql, { partitions: 1 })
    t.publisher.verdict = ({ destination }) => (destination === 'away' ? 'unavailable' : undefined)
    await t.sql.query('CREATE TABLE account (id int PRIMARY KEY, n int)')
    await t.sql.query('INSERT INTO account VALUES (1, 0)')
    let n = 0
    const away = (): Promise<unknown> =>
      t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message(`a${++n}`, 'x', { destination: 'away' })]))
    const transfer = (id: string, openMs: number): Promise<unknown> =>
      t.sql.transaction(async (tx) => {
        await tx.query('UPDATE account SET n = n + 1 WHERE id = 1')
        await t.outbox.addEncoded(tx, [message(id, 'account-1', { destination: 'here' })])
        await new Promise((resolve) => setTimeout(resolve, openMs))
      })
    await away()
    await t.relay().start()
    const trickle = setInterval(() => void away(), 100)
    try {
      await until(() => t.publisher.calls.length > 0, 'it has met the outage')
      const [first, second] = [transfer('first', OPEN_MS), transfer('second', 0)]
      await Promise.all([first, second])
      await until(() => t.publisher.ids.filter((id) => !id.startsWith('a')).length === 2, 'both have left', 5_000)
      expect(t.publisher.ids.filter((id) => !id.startsWith('a'))).toEqual(['first', 'second'])
    } finally {
      clearInterval(trickle)
    }
  })

  test('leaves, although its row had a number before its transaction had one', async () => {
    await using t = await setupOutboxOn(database.sql, { partitions: 1 })
    t.publisher.verdict = ({ destination }) => (destination === 'away' ? 'unavailable' : undefined)
    let n = 0
    const away = (): Promise<unknown> =>
      t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message(`a${++n}`, 'x', { destination: 'away' })]))
    for (let i = 0; i < 5; i++) await away()
    await t.relay().start()
    await until(() => t.publisher.calls.length > 0, 'it has met the outage')
    const foreign = t.sql.transaction(async (tx) => {
      await tx.query(
        `INSERT INTO ${t.outbox.schema}.outbox (partition, id, aggregatetype, aggregateid, type, payload, source, content_type, time)
         VALUES (0, 'first', 'here', 'account-1', 'order', (SELECT ''::bytea FROM pg_sleep(1.5)), 'legacy', 'application/json', 1)`,
      )
      await new Promise((resolve) => setTimeout(resolve, OPEN_MS))
    })
    await new Promise((resolve) => setTimeout(resolve, 300))
    await away()
    await foreign
    await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('second', 'account-1', { destination: 'here' })]))
    await until(() => t.publisher.ids.filter((id) => !id.startsWith('a')).length === 2, 'both have left', 5_000)
    expect(t.publisher.ids.filter((id) => !id.startsWith('a'))).toEqual(['first', 'second'])
  })

  test('a pass reads nothing while a transaction runs that the last one saw', async () => {
    await using t = await setupOutboxOn(database.sql, { partitions: 1 })
    await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('a1', 'x', { destination: 'away' })]))
    const pass = async (tx: SqlExecutor, since: string) => {
      const text = `SELECT seq, own FROM ${t.outbox.schema}.outbox_pass(0, NULL, NULL, '{away}', $1)`
      return (await tx.query<{ seq: string | null; own: string }>(text, [since])).rows[0]
    }
    await t.sql.transaction(async (tx) => {
      const { rows } = await tx.query<{ own: string }>('SELECT pg_current_xact_id()::text AS own')
      const above = String(BigInt((rows[0] as { own: string }).own) + 1n)
      expect(await pass(t.sql, above)).toEqual({ seq: null, own: above })
      expect(await pass(t.sql, '1')).toMatchObject({ seq: '1' })
    })
  })
})

describeWith(['postgres'], 'a transaction that adds behind rows of its key, whose channel is in a log now', () => {
  test('is not overtaken by a process that starts while it is open', async () => {
    const database = await createDatabase()
    onTestFinished(() => database.drop())
    await using t = await setupOutboxOn(database.sql, { partitions: 1 })
    const tables = outboxTables(t.outbox.schema)
    const add = (tx: SqlTransaction, id: string): Promise<void> => t.outbox.addEncoded(tx, [message(id)])
    await t.sql.transaction((tx) => add(tx, 'left'))
    const [one, other] = [1, 2].map(() => new OutboxToLogOrder(tables, 1, () => true)) as [
      OutboxToLogOrder,
      OutboxToLogOrder,
    ]
    await one.look(t.sql)
    const later = message('later')
    await t.sql.transaction(async (tx) => {
      expect((await one.behind(tx, [later])).size).toBe(1)
      await add(tx, 'later')
      // The relay has sent the earlier messages.
      await t.sql.query(`DELETE FROM ${tables.outbox}`)
      await other.look(t.sql)
    })
    const last = message('last')
    expect([...(await t.sql.transaction((tx) => other.behind(tx, [last])))]).toEqual([last])
  })
})
