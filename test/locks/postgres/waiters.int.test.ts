import { pgClient, pgListener } from 'concordat/core/pg'
import type { Claim } from 'concordat/extension'
import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { inLine } from '../../conformance/locks-kit.ts'
import { expectWithin } from '../../support/expect-within.ts'
import type { ClaimTerms } from '../../support/inside/locks.ts'
import { type LocksDatabase, locksDatabase, storeOn } from '../../support/locks/postgres-table.ts'
import { describeWith } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'

const TERMS: ClaimTerms = { owner: 'waiter', mode: 'exclusive', limit: 1, lockDelayMs: 0 }
const PLACE = { ttlMs: 30_000, tokenFloor: 0, keepPlaceMs: 20_000, handOver: true }

describeWith(['postgres'], 'a waiter on PostgreSQL', () => {
  let database: LocksDatabase
  beforeAll(async () => {
    database = await locksDatabase()
  })
  afterAll(() => database.drop())

  /** Waiter in the queue of `key`, whose process can stop, or vanish. */
  async function waiter(key: string) {
    const pool = new pg.Pool({ connectionString: database.url, max: 2 })
    const listener = pgListener({ connect: () => new pg.Client({ connectionString: database.url }) })
    const store = storeOn(pgClient(pool), listener)
    const claim: Claim = { ...TERMS, key, value: store.newValue() }
    const told: Array<number | undefined> = []
    await store.listen(claim.value, (token) => told.push(token))
    await store.acquire(claim, PLACE)
    await until('it listens', () => listener.backend !== undefined)
    const backend = async (): Promise<number | null | undefined> => {
      const { rows } = await database.sql.query<{ backend: number | null }>(
        'SELECT backend FROM concordat.lock_client WHERE client = $1',
        [claim.value.split('.')[0]],
      )
      return rows[0]?.backend
    }
    await until('the server knows by which connection', async () => (await backend()) === listener.backend)
    const vanish = async (): Promise<void> => {
      await store.close()
      await listener.close()
      await pool.end()
    }
    return { store, claim, told, backend, vanish, [Symbol.asyncDispose]: vanish }
  }

  it('whose process is gone is passed over at once, not after its heartbeat', async () => {
    const locks = database.contender()
    const held = await locks.acquire('a', { ttlMs: 60_000 })
    const dead = await waiter('a')
    await using next = await waiter('a')
    await dead.vanish()
    const begun = performance.now()
    await held.release()
    await until('the next is told', () => next.told.length > 0)
    await expectWithin(performance.now() - begun, 1_000)
    expect(dead.told).toEqual([])
    await locks.close()
  })

  it('a called waiter that does not answer is passed over after a moment', async () => {
    const locks = database.contender()
    const held = await locks.acquire('b', { ttlMs: 60_000 })
    await using mute = await waiter('b')
    const waiting = database.contender({ heartbeatMs: 20_000 })
    const next = waiting.acquire('b', { waitMs: 30_000 })
    await inLine(locks, 'b', 2)
    const begun = performance.now()
    await held.release()
    await (await next).release()
    expect(mute.told.length).toBeGreaterThan(0)
    await expectWithin(performance.now() - begun, 8_000)
    await waiting.close()
    await locks.close()
  })

  it('in the process of the releasing holder is given the lock, with its token', async () => {
    const pool = new pg.Pool({ connectionString: database.url, max: 2 })
    const sql = pgClient(pool)
    const [holder, store] = [storeOn(sql), storeOn(sql)]
    const claim = (): Claim => ({ ...TERMS, key: 'c', value: holder.newValue() })
    const first = claim()
    const granted = await holder.acquire(first, PLACE)
    const second: Claim = { ...TERMS, key: 'c', value: store.newValue() }
    const told: Array<number | undefined> = []
    await store.listen(second.value, (token) => told.push(token))
    const refused = await store.acquire(second, PLACE)
    expect(granted.status === 'granted' && refused).toMatchObject({
      status: 'busy',
      position: 0,
      lastToken: granted.status === 'granted' ? granted.token : 0,
    })
    expect(await holder.release(first, 0)).toBe('released')
    expect(told).toEqual([expect.any(Number)])
    const token = told[0] as number
    expect(await store.acquire(second, PLACE)).toEqual({ status: 'granted', token })
    expect(await store.release(second, 0)).toBe('released')
    await holder.close()
    await store.close()
    await pool.end()
  })

  it('is served by its own polling when it cannot be notified', async () => {
    const locks = database.contender({ listens: false })
    const held = await locks.acquire('d', { ttlMs: 60_000 })
    const other = database.contender({ listens: false, heartbeatMs: 20_000 })
    const waiting = other.acquire('d')
    await inLine(locks, 'd', 1)
    const begun = performance.now()
    await held.release()
    await (await waiting).release()
    await expectWithin(performance.now() - begun, 4_000)
    await locks.close()
    await other.close()
  })
})
