import type { PGlite } from '@electric-sql/pglite'
import type { SqlClient } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { type PostgresLocks, postgresLocks } from 'concordat/postgres'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { FakeClock } from '../../support/locks/fake-clock.ts'
import { freshPglite } from '../../support/pglite.ts'
import { until } from '../../support/until.ts'

const FORCE = { by: 'ada', reason: 'the node is gone' }

describe('a transaction that is guarded by a lease in the same database', () => {
  let database: PGlite
  let sql: SqlClient
  let locks: PostgresLocks
  beforeAll(async () => {
    database = freshPglite()
    sql = pgliteClient(database)
    await postgresLocks({ sql }).migrate()
    await sql.query('CREATE TABLE ledger (text text NOT NULL)')
  }, 120_000)
  afterAll(() => database.close())
  beforeEach(async () => {
    locks = postgresLocks({ sql })
    await sql.query('TRUNCATE ledger')
  })
  afterEach(() => locks.close())

  /** Locks of a process whose clock the test moves, so that a slow database makes no grant late. */
  const onOwnClock = () => {
    const clock = new FakeClock()
    const own = postgresLocks({ sql, clock })
    onTestFinished(() => own.close())
    return { clock, own }
  }
  const write = (text: string) => ['INSERT INTO ledger (text) VALUES ($1)', [text]] as const
  const ledger = async () => (await sql.query<{ text: string }>('SELECT text FROM ledger')).rows.map(({ text }) => text)

  it('commits under the newest lease, and resolves with the result of the work', async () => {
    const result = await locks.transaction('k', {}, async (tx, lease) => {
      await tx.query(...write(`under ${lease.key}`))
      return lease.token
    })
    expect(result).toBeGreaterThan(0)
    expect(await ledger()).toEqual(['under k'])
    expect(await locks.inspect('k')).toBeUndefined()
  })

  it('rolls back with the error of the work, and gives the lock back', async () => {
    const mine = new Error('mine')
    const failing = locks.transaction('k', {}, async (tx) => {
      await tx.query(...write('never'))
      throw mine
    })
    await expect(failing).rejects.toBe(mine)
    expect(await ledger()).toEqual([])
    expect(await locks.inspect('k')).toBeUndefined()
  })

  it('is refused at once when another took the lock over before it', async () => {
    const lost = await locks.acquire('k')
    await locks.forceRelease('k', FORCE)
    const next = await locks.acquire('k')
    const writing = sql.transaction(async (tx) => {
      await locks.guard(tx, lost)
      await tx.query(...write('too late'))
    })
    await expect(writing).rejects.toMatchObject({
      code: 'locks.fence_rejected',
      resource: 'k',
      token: lost.token,
      lastToken: next.token,
    })
    expect(await ledger()).toEqual([])
  })

  it('is refused under a lease that was released, or revoked even if the key is free', async () => {
    const released = await locks.acquire('a')
    await released.release()
    const forced = await locks.acquire('b')
    await locks.forceRelease('b', FORCE)
    for (const lease of [released, forced])
      await expect(sql.transaction((tx) => locks.guard(tx, lease))).rejects.toMatchObject({
        code: 'locks.fence_rejected',
      })
  })

  it('commits under an expired lease as long as no other had the key', async () => {
    const { clock, own } = onOwnClock()
    const over = await own.acquire('k', { ttlMs: 100, maxHoldMs: 0 })
    clock.stall(100)
    expect(over.state).toBe('lost')
    await until('it has expired in the database', async () => (await locks.inspect('k')) === undefined)
    await sql.transaction(async (tx) => {
      await locks.guard(tx, over)
      await tx.query(...write('late, and alone'))
    })
    expect(await ledger()).toEqual(['late, and alone'])
  })

  it('resolves when the commit is confirmed, though the lease was lost after that', async () => {
    const { clock, own } = onOwnClock()
    const done = await own.transaction('k', { ttlMs: 100, maxHoldMs: 0 }, async (tx, lease) => {
      await tx.query(...write('in time'))
      await clock.advance(100)
      expect(lease.signal.aborted).toBe(true)
      return 'done'
    })
    expect(done).toBe('done')
    expect(await ledger()).toEqual(['in time'])
  })

  it('guards readers and the holders of permits each by their own lease', async () => {
    const [one, other] = [await locks.acquire('k', { permits: 2 }), await locks.acquire('k', { permits: 2 })]
    await sql.transaction(async (tx) => {
      await locks.guard(tx, one)
      await locks.guard(tx, other)
    })
    await one.release()
    await expect(sql.transaction((tx) => locks.guard(tx, one))).rejects.toMatchObject({ code: 'locks.fence_rejected' })
    await sql.transaction((tx) => locks.guard(tx, other))
  })

  it('leaves nothing in the table of guards', async () => {
    await locks.transaction('k', {}, async (tx) => void (await tx.query(...write('x'))))
    expect((await sql.query('SELECT FROM concordat.lock_guard')).rowCount).toBe(0)
  })

  it('needs work to do, and tables', async () => {
    expect(() => locks.transaction('k', {}, undefined as never)).toThrow('transaction("k") work: expected a function')
    const elsewhere = postgresLocks({ sql, schema: 'elsewhere' })
    await expect(sql.transaction((tx) => elsewhere.guard(tx, { key: 'k', token: 1 }))).rejects.toMatchObject({
      code: 'core.tables_missing',
    })
    await expect(elsewhere.acquire('k')).rejects.toMatchObject({
      code: 'locks.store_refused',
      message: expect.stringContaining('call locks.migrate()'),
    })
    await elsewhere.close()
  })
})
