import { randomUUID } from 'node:crypto'
import type { Claim } from 'concordat/extension'
import { redisLocks } from 'concordat/redis'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { ClaimTerms, RedisLocksOptions } from '../../support/inside/locks.ts'
import { redisStore } from '../../support/locks/redis-table.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'

const TERMS: ClaimTerms = { owner: 'waiter', mode: 'exclusive', limit: 1, lockDelayMs: 0 }
const PLACE = { ttlMs: 30_000, tokenFloor: 0, keepPlaceMs: 20_000, handOver: true }

describeWith(['redis'], 'a lock on Redis that is released while a client waits', () => {
  let client: Redis
  let prefix: string
  beforeAll(() => {
    client = new Redis(serverUrl('redis') as string)
  })
  beforeEach(() => {
    prefix = `test-${randomUUID()}:`
  })
  afterAll(() => client.disconnect())

  const locksWith = (options: Partial<RedisLocksOptions> = {}) => redisLocks({ client, prefix, ...options })

  /** A holder, and a waiter that is notified of its turn. */
  async function waiter(request: Partial<typeof PLACE> = {}, terms: Partial<ClaimTerms> = {}) {
    const holder = locksWith()
    const held = await holder.acquire('k')
    const store = redisStore(client, prefix)
    const claim: Claim = { ...TERMS, ...terms, key: 'k', value: store.newValue({ ...TERMS, ...terms }) }
    const told: Array<number | undefined> = []
    await store.listen(claim.value, (token) => told.push(token))
    const refused = await store.acquire(claim, { ...PLACE, ...request })
    return {
      holder,
      held,
      store,
      claim,
      told,
      refused,
      [Symbol.asyncDispose]: async () => {
        await store.close()
        await holder.close()
      },
    }
  }

  it('is given to the first in the queue, which is notified of the token', async () => {
    await using place = await waiter()
    const { holder, held, store, claim, told, refused } = place
    expect(refused).toMatchObject({ status: 'busy', position: 0, lastToken: held.token })
    await held.release()
    await until('it is told', () => told.length === 1)
    const token = told[0] as number
    expect(token).toBeGreaterThan(held.token)
    const [info] = (await holder.inspect('k'))?.holders ?? []
    expect(info).toMatchObject({ owner: 'waiter', token })
    expect(info?.expiresInMs).toBeGreaterThan(20_000)
    expect(Math.abs((info?.sinceAt ?? 0) - Date.now())).toBeLessThan(10_000)
    expect((await holder.inspect('k'))?.waiters).toEqual([])
    expect(await store.acquire(claim, PLACE)).toEqual({ status: 'granted', token })
    expect(await store.release(claim, 0)).toBe('released')
    expect(await holder.inspect('k')).toBeUndefined()
    expect(await client.keys(`${prefix}*`)).toEqual([`${prefix}{k}:fence`])
  })

  it('keeps the lock delay and the floor that the waiter asked with', async () => {
    await using place = await waiter({ tokenFloor: 9e15, ttlMs: 5_000 }, { lockDelayMs: 60_000 })
    await place.held.release()
    await until('it is told', () => place.told.length === 1)
    expect(place.told).toEqual([9e15 + 1])
    const [info] = (await place.holder.inspect('k'))?.holders ?? []
    expect(info?.expiresInMs).toBeLessThanOrEqual(5_000)
    expect(info?.freesInMs).toBeGreaterThan(50_000)
    expect(await place.store.release(place.claim, 0)).toBe('released')
  })

  it('is also handed on by a repeated release, and by none a second time', async () => {
    await using place = await waiter()
    await place.held.release()
    await until('it is told', () => place.told.length === 1)
    expect(await place.held.release()).toBe('released')
    expect(await place.store.release(place.claim, 5_000)).toBe('released')
    expect(await place.store.release(place.claim, 5_000)).toBe('lost')
    expect(await place.store.acquire(place.claim, PLACE).catch(({ code }: { code: string }) => code)).toBe(
      'locks.store_unavailable',
    )
  })

  it('is not given to a waiter that is gone, but to the next', async () => {
    await using place = await waiter()
    await using next = redisStoreInLine()
    await next.ready
    await place.store.close()
    const channel = `${prefix}turn:${place.claim.value.split('.')[0]}`
    await until('Redis has noticed', async () => (await client.pubsub('NUMSUB', channel))[1] === 0)
    await place.held.release()
    await until('the next is told', () => next.told.length === 1)
    expect(next.told[0]).toBeGreaterThan(place.held.token)
  })

  it('is not given away unasked where a grant has further conditions: with a restart guard', async () => {
    await using locks = locksWith({ restartGraceMs: 1 })
    await using other = locksWith({ restartGraceMs: 1, heartbeatMs: 20_000 })
    for (const contender of [locks, other])
      await until('the server is old enough', () =>
        contender.tryAcquire('k').then(
          async (lease) => (await lease?.release()) === 'released',
          () => false,
        ),
      )
    const held = await locks.acquire('k', { ttlMs: 30_000 })
    const waiting = other.acquire('k', { ttlMs: 30_000 })
    await until('it waits', async () => (await locks.inspect('k'))?.waiters.length === 1)
    await held.release()
    const lease = await waiting
    expect(lease.token).toBeGreaterThan(held.token)
    await lease.release()
  })

  describe('with a whole line', () => {
    it('costs one request from hand to hand', async () => {
      const locks = Array.from({ length: 8 }, () => locksWith({ heartbeatMs: 20_000 }))
      const first = await (locks[0] as (typeof locks)[0]).acquire('k', { ttlMs: 60_000 })
      const tokens: number[] = []
      const line = locks.map((each) =>
        each.using('k', { ttlMs: 60_000 }, async (lease) => {
          lease.assertValid(30_000)
          tokens.push(lease.token)
        }),
      )
      await until('all wait', async () => (await locks[0]?.inspect('k'))?.waiters.length === 8)
      const before = await calls(client)
      await first.release()
      await Promise.all(line)
      const after = await calls(client)
      expect(tokens).toEqual(tokens.toSorted((a, b) => a - b))
      // Nine releases. An INFO is no script.
      expect(after - before).toBe(9)
      await Promise.all(locks.map((each) => each.close()))
    })
  })

  function redisStoreInLine() {
    const store = redisStore(client, prefix)
    const claim: Claim = { ...TERMS, key: 'k', value: store.newValue(TERMS) }
    const told: Array<number | undefined> = []
    const ready = store.listen(claim.value, (token) => told.push(token)).then(() => store.acquire(claim, PLACE))
    return { told, ready, [Symbol.asyncDispose]: () => store.close() }
  }
})

/** Requests so far, of all clients. */
async function calls(client: Redis): Promise<number> {
  const stats = await client.info('commandstats')
  return [...stats.matchAll(/cmdstat_(?:evalsha|eval):calls=(\d+)/g)].reduce((sum, [, n]) => sum + Number(n), 0)
}
