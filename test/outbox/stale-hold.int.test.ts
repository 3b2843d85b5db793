// oxlint-disable no-restricted-imports -- inside of the outbox: one statement of a relay that is held up in the middle
import { type SqlClient, systemClock } from 'concordat/core'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { UnansweredCalls } from '../../core/unanswered-calls.ts'
import { LeaseKeeper } from '../../outbox/lease.ts'
import { PartitionQueries } from '../../outbox/partition-queries.ts'
import { outboxTables } from '../../outbox/tables.ts'
import { describeWith } from '../support/servers/index.ts'
import { message, until } from './support/messages.ts'
import { createDatabase, type TestDatabase } from './support/postgres.ts'
import { type OutboxSetup, setupOutboxOn } from './support/setup.ts'

const HELD_MS = 60_000

/** A relay without its loop. */
async function relayOf(t: OutboxSetup, instance: string): Promise<PartitionQueries> {
  const tables = outboxTables(t.outbox.schema)
  const sql: SqlClient = t.outbox.sql
  const keeper = new LeaseKeeper({ sql, tables, instance, leaseMs: 60_000, longestPauseMs: 60_000, clock: systemClock })
  await keeper.claim(1)
  const [lease] = keeper.held
  if (lease === undefined) throw new Error(`${instance} got no lease`)
  return new PartitionQueries(sql, tables, lease, new UnansweredCalls(systemClock))
}

describeWith(['postgres'], 'a failure that a relay writes while another takes over', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createDatabase(10)
  })
  afterAll(() => database.drop())

  /** The stale relay's `hold` of a1 has looked at the lease, waits for the row, and lands after the take-over. */
  async function heldUp() {
    const t = await setupOutboxOn(database.sql, { partitions: 1 })
    const schema = `"${t.outbox.schema}"`
    await t.sql.transaction((tx) =>
      t.outbox.addEncoded(tx, [message('a1', 'a'), message('a2', 'a'), message('b1', 'b')]),
    )
    const stale = await relayOf(t, 'stale')
    const { rows } = await stale.fetch(10, 1_000_000, [])
    const a1 = rows.find((row) => row.message.id === 'a1')
    const someone = new pg.Client({ connectionString: database.url })
    await someone.connect()
    await someone.query(`BEGIN`)
    await someone.query(`SELECT FROM ${schema}.outbox WHERE id = 'a1' FOR UPDATE`)
    const hold = { seq: a1?.seq ?? '', id: 'a1', strikes: 1, delayMs: HELD_MS, error: 'refused: by a relay of before' }
    const landing = stale.hold([hold])
    const waits = async (): Promise<boolean> => {
      const found = await t.sql.query(
        `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%outbox_hold%'`,
      )
      return found.rows.length > 0
    }
    await until(waits, 'the hold waits for the row')
    await t.sql.query(`UPDATE ${schema}.outbox_lease SET lease_until = clock_timestamp() - interval '1 s'`)
    const landed = async (): Promise<boolean> => {
      await someone.query('ROLLBACK')
      await someone.end()
      return landing
    }
    const attempts = async (): Promise<readonly unknown[]> =>
      (await t.sql.query(`SELECT id, attempts FROM ${schema}.outbox ORDER BY seq`)).rows
    return { ...t, landed, attempts }
  }

  describe('before the new one has polled', () => {
    test('lands, holds the key back, and neither loses nor turns round anything', async () => {
      await using t = await heldUp()
      await relayOf(t, 'young')
      expect(await t.landed()).toBe(true)
      expect(await t.attempts()).toContainEqual({ id: 'a1', attempts: 1 })
      await t.sql.query(`UPDATE "${t.outbox.schema}".outbox_lease SET lease_until = clock_timestamp() - interval '1 s'`)
      await t.relay().start()
      await until(() => t.publisher.idsOf('b').length === 1, 'b1 is published')
      expect(t.publisher.idsOf('a')).toEqual([])
      expect(await t.outbox.retry('a1', { by: 'ann', reason: 'not to wait for a minute' })).toBe(true)
      await until(() => t.publisher.idsOf('a').length === 2, 'a is published')
      expect(t.publisher.idsOf('a')).toEqual(['a1', 'a2'])
      await until(async () => (await t.attempts()).length === 0, 'nothing is left')
    })
  })

  describe('while the new one has it under way', () => {
    test('is deleted with the message when that was published', async () => {
      await using t = await heldUp()
      const young = await relayOf(t, 'young')
      const { rows } = await young.fetch(10, 1_000_000, [])
      expect(rows.map((row) => row.message.id)).toEqual(['a1', 'a2', 'b1'])
      const confirming = young.confirm(rows)
      expect(await t.landed()).toBe(true)
      expect(await confirming).toBe(true)
      expect(await t.attempts()).toEqual([])
    })
  })
})
