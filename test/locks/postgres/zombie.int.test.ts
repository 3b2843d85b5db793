import { pgClient, pgTransaction } from 'concordat/core/pg'
import { postgresLocks } from 'concordat/postgres'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { expectWithin } from '../../support/expect-within.ts'
import { FakeClock } from '../../support/locks/fake-clock.ts'
import { type LocksDatabase, locksDatabase } from '../../support/locks/postgres-table.ts'
import { describeWith } from '../../support/servers/index.ts'

const TTL_MS = 400
const INSERT = 'INSERT INTO ledger (text) VALUES ($1)'

describeWith(['postgres'], 'a holder that was stopped in the middle of its transaction', () => {
  let database: LocksDatabase
  beforeAll(async () => {
    database = await locksDatabase()
    await database.sql.query('CREATE TABLE ledger (id serial, text text NOT NULL)')
  })
  afterAll(() => database.drop())

  const write = (text: string) => [INSERT, [text]] as const
  const ledger = async () => {
    const { rows } = await database.sql.query<{ text: string }>('SELECT text FROM ledger ORDER BY id')
    return rows.map(({ text }) => text)
  }

  /** Holder with a clock that does not move: it believes in its lease without end, and renews nothing. */
  function zombie() {
    const pool = new pg.Pool({ connectionString: database.url, max: 3 })
    const locks = postgresLocks({ sql: pgClient(pool), clock: new FakeClock() })
    return { locks, pool, sql: pgClient(pool), [Symbol.asyncDispose]: () => pool.end() }
  }

  it('keeps no other waiting, and fails at its commit: none of its writes is stored', async () => {
    await using stopped = zombie()
    const successor = database.contender()
    const begun = performance.now()
    const writing = stopped.locks.transaction('ledger', { ttlMs: TTL_MS }, async (tx, lease) => {
      await tx.query(...write('the zombie'))
      const next = await successor.acquire('ledger')
      // The transaction of the zombie is still open, and it has written.
      await expectWithin(performance.now() - begun, 8_000)
      await successor.transaction('other', {}, (inner) => successor.guard(inner, next))
      await database.sql.transaction(async (inner) => {
        await successor.guard(inner, next)
        await inner.query(...write('the successor'))
      })
      lease.assertValid()
    })
    await expect(writing).rejects.toMatchObject({ code: 'locks.fence_rejected', resource: 'ledger' })
    expect(await ledger()).toEqual(['the successor'])
    await successor.close()
  })

  it('in a transaction of its own is refused by the server, with a SQLSTATE', async () => {
    await using stopped = zombie()
    const successor = database.contender()
    const connection = await stopped.pool.connect()
    const lease = await stopped.locks.acquire('own', { ttlMs: TTL_MS })
    await connection.query('BEGIN')
    await stopped.locks.guard(pgTransaction(connection), lease)
    await connection.query(INSERT, ['never'])
    await (await successor.acquire('own')).release()
    await expect(connection.query('COMMIT')).rejects.toMatchObject({ code: 'CC002' })
    connection.release()
    expect(await ledger()).not.toContain('never')
    await successor.close()
  })

  it.for(['REPEATABLE READ', 'SERIALIZABLE'])(
    'does not commit under %s after its shared lease was given back, though its snapshot still shows the lease',
    async (isolation) => {
      const locks = database.contender()
      const connection = await database.pool.connect()
      const lease = await locks.acquire('shared', { mode: 'shared' })
      await connection.query(`BEGIN ISOLATION LEVEL ${isolation}`)
      await locks.guard(pgTransaction(connection), lease)
      await connection.query(INSERT, [`never ${isolation}`])
      await lease.release()
      await expect(connection.query('COMMIT')).rejects.toMatchObject({ code: '40001' })
      connection.release()
      expect(await ledger()).not.toContain(`never ${isolation}`)
      await locks.close()
    },
  )

  describe('that is committing', () => {
    it('is waited for by its successor: the check and the commit are one step', async () => {
      await using stopped = zombie()
      const successor = database.contender({ answerMs: 20_000 })
      const connection = await stopped.pool.connect()
      const lease = await stopped.locks.acquire('tight', { ttlMs: TTL_MS })
      await connection.query('BEGIN')
      await stopped.locks.guard(pgTransaction(connection), lease)
      // From this check, as at the commit, to its end the key may not be granted.
      await connection.query('SET CONSTRAINTS ALL IMMEDIATE')
      let granted = false
      const taking = successor.acquire('tight', { waitMs: 20_000 }).then((next) => {
        granted = true
        return next
      })
      await connection.query(`SELECT pg_sleep(${(2 * TTL_MS) / 1_000})`)
      expect(granted).toBe(false)
      await connection.query(INSERT, ['just in time'])
      await connection.query('COMMIT')
      const next = await taking
      expect(next.token).toBeGreaterThan(lease.token)
      expect(await ledger()).toContain('just in time')
      connection.release()
      await successor.close()
    })
  })
})
