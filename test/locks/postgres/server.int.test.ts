import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type LocksDatabase, locksDatabase } from '../../support/locks/postgres-table.ts'
import { describeWith } from '../../support/servers/index.ts'

const FORCE = { by: 'ada', reason: 'why not' }

describeWith(['postgres'], 'the functions of the locks', () => {
  let database: LocksDatabase
  beforeAll(async () => {
    database = await locksDatabase()
  })
  afterAll(() => database.drop())

  const ask = `SELECT status, granted::text FROM concordat.lock_acquire($1, $2, 'c', 'h', 'o', false, 1, 60000, 0, 0, $3, false)`

  it('wait for the disk only for grants and renewals', async () => {
    const client = new pg.Client({ connectionString: database.url })
    await client.connect()
    const under = async (before: string, text: string, ...parameters: unknown[]): Promise<string> => {
      await client.query(`BEGIN; SET LOCAL synchronous_commit = ${before}`)
      await client.query(text, parameters)
      const { rows } = await client.query<{ synchronous_commit: string }>('SHOW synchronous_commit')
      await client.query('COMMIT')
      return rows[0]?.synchronous_commit ?? ''
    }
    const extend = `SELECT done FROM concordat.lock_extend($1, $2, false, 60000)`
    const release = `SELECT done FROM concordat.lock_release($1, $2, 'h', false, $3)`
    try {
      expect(await under('off', ask, 'k', 'a', 0)).toBe('on')
      expect(await under('local', extend, 'k', 'a')).toBe('local')
      expect(await under('off', extend, 'k', 'a')).toBe('on')
      expect(await under('on', ask, 'k', 'b', 1_000)).toBe('off')
      expect(await under('on', release, 'k', 'a', 0)).toBe('off')
      expect(await under('off', ask, 'k', 'b', 0)).toBe('on')
      expect(await under('off', release, 'k', 'b', 60_000)).toBe('on')
    } finally {
      await client.end()
    }
  })

  it('follow indexes only, with any number of keys and any statistics', async () => {
    const locks = database.contender()
    const other = database.contender()
    const key = randomUUID()
    const use = async () => {
      const held = await locks.acquire(key)
      const waiting = other.acquire(key)
      await held.release()
      await (await waiting).release()
      const readers = await Promise.all([locks.acquire(key, { mode: 'shared' }), other.acquire(key, { permits: 3 })])
      for (const reader of readers) await reader.release()
      await locks.forceRelease(key, FORCE)
    }
    await use()
    await database.sql.query(
      `INSERT INTO concordat.lock_key (key, token) SELECT 'many ' || n, n FROM generate_series(1, 20000) n`,
    )
    const scans = async (): Promise<number> => {
      const { rows } = await database.sql.query<{ n: number }>(
        `SELECT sum(seq_scan)::int AS n FROM pg_stat_user_tables WHERE relname LIKE 'lock\\_%' AND relname <> 'lock_upkeep'`,
      )
      return rows[0]?.n ?? 0
    }
    const settled = async (): Promise<number> => {
      await database.sql.query(`SELECT pg_sleep(1.2), pg_stat_clear_snapshot()`)
      return scans()
    }
    const before = await settled()
    for (let n = 0; n < 20; n++) await use()
    expect(await settled()).toBe(before)
    await locks.close()
    await other.close()
  })

  it('forget keys that are long unused, and no token with them', async () => {
    const locks = database.contender()
    const key = randomUUID()
    const tokenAbove = (Date.now() + 3_000) * 1_000
    const { token } = await locks.using(key, { tokenAbove }, (lease) => lease)
    const kept = await locks.acquire(randomUUID())
    await database.sql.query(`SELECT pg_sleep(3.5)`)
    // A day has passed since, and an hour since the last cleaning.
    await database.sql.query(`UPDATE concordat.lock_key SET since_us = since_us - 86400000000 - 10000000`)
    await database.sql.query(`UPDATE concordat.lock_upkeep SET swept_us = 0, keys_us = 0`)
    await database.sql.query('SELECT concordat.lock_sweep(100000)')
    const keys = await database.sql.query<{ key: string }>('SELECT key FROM concordat.lock_key')
    expect(keys.rows.map((row) => row.key)).toEqual([kept.key])
    // The clock goes back behind the granted tokens: the floor is the only memory.
    await database.sql.query(`UPDATE concordat.lock_upkeep SET floor = greatest(floor, ${token} + 3600000000)`)
    const again = await locks.acquire(key)
    expect(again.token).toBeGreaterThan(token + 3_600_000_000)
    await locks.close()
  })

  it('are deleted in batches while there are more unused keys than one sweep takes', async () => {
    await database.sql.query(
      `INSERT INTO concordat.lock_key (key, token) SELECT 'old ' || n, 1 FROM generate_series(1, 25) n`,
    )
    await database.sql.query(`UPDATE concordat.lock_upkeep SET swept_us = 0, keys_us = 0`)
    const sweep = async (): Promise<boolean | undefined> => {
      const { rows } = await database.sql.query<{ more: boolean }>('SELECT concordat.lock_sweep(10) AS more')
      return rows[0]?.more
    }
    expect([await sweep(), await sweep(), await sweep()]).toEqual([true, true, false])
    const { rows } = await database.sql.query(`SELECT FROM concordat.lock_key WHERE key LIKE 'old %'`)
    expect(rows).toEqual([])
  })

  it('are as fast for a lock whose time is counted anew because the clock went back', async () => {
    const [locks, other, key] = [database.contender(), database.contender(), randomUUID()]
    await locks.acquire(key, { ttlMs: 500, maxHoldMs: 0 })
    // The lease has the times of a grant made while the clock was an hour ahead.
    await database.sql.query(`UPDATE concordat.lock_key SET frees_us = frees_us + 3600000000 WHERE key = $1`, [key])
    await (await other.acquire(key, { waitMs: 20_000 })).release()
    await locks.close()
    await other.close()
  })
})
