import { randomUUID } from 'node:crypto'
import type { Locks } from 'concordat/locks'
import { redisLocks, redlockLocks } from 'concordat/redis'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { fullCases } from '../../conformance/locks-full.ts'
import type { LocksOptions } from '../../support/inside/locks.ts'
import { redisStore } from '../../support/locks/redis-table.ts'
import { describeWith, type PrivateServer, startServer } from '../../support/servers/index.ts'

describeWith(['redis'], 'Redis whose memory is full, or whose counter is spent', { private: true }, () => {
  let servers: PrivateServer[] = []
  let clients: Redis[] = []
  beforeAll(async () => {
    const settings = { 'maxmemory-policy': 'noeviction' }
    servers = await Promise.all(Array.from({ length: 3 }, () => startServer('redis', { settings })))
    clients = servers.map(({ url }) => new Redis(url))
  })
  afterAll(async () => {
    for (const client of clients) client.disconnect()
    await Promise.all(servers.map((server) => server.stop()))
  })

  const full = async (isFull: boolean): Promise<void> => {
    await Promise.all(clients.map((client) => client.config('SET', 'maxmemory', isFull ? '1' : '0')))
  }
  const closing = (locks: Locks): Locks => {
    onTestFinished(() => locks.close())
    return locks
  }

  describe('redisLocks', () => {
    const contender = (options: LocksOptions = {}): Locks =>
      closing(redisLocks({ ...options, client: clients[0] as Redis }))
    fullCases({ contender, has: () => true }, full)

    it('grants nothing under a token beyond the exact integers, when such a counter was written', async () => {
      const client = clients[0] as Redis
      const locks = contender()
      for (const counter of ['9223372036854775808', '1e30', '9007199254740993']) {
        await client.set('concordat:lock:{counted}:fence', counter)
        await expect(locks.acquire('counted')).rejects.toMatchObject({ code: 'locks.store_refused' })
        await client.del('concordat:lock:{counted}')
      }
      await client.del('concordat:lock:{counted}:fence')
      expect((await locks.acquire('counted')).token).toBeGreaterThan(1e15)
    })

    it.each(['exclusive', 'shared'] as const)(
      'releases an uncertain grant, and its stragglers get nothing: %s',
      async (mode) => {
        const store = redisStore(clients[0] as Redis, `test-${randomUUID()}:`)
        onTestFinished(() => store.close())
        const terms = {
          owner: 'a',
          mode,
          limit: mode === 'shared' ? Number.POSITIVE_INFINITY : 1,
          lockDelayMs: 0,
        } as const
        const claim = { ...terms, key: 'k', value: store.newValue(terms) }
        const request = { ttlMs: 60_000, keepPlaceMs: 0, tokenFloor: 0, handOver: false } as const
        expect(await store.acquire(claim, request)).toMatchObject({ status: 'granted' })
        await full(true)
        try {
          expect(await store.release(claim, 30_000)).toBe('released')
          expect(await store.release({ ...claim, value: store.newValue(terms) }, 30_000)).not.toBe('released')
          await store.abandon({ ...claim, value: store.newValue(terms) }, 30_000)
        } finally {
          await full(false)
        }
        await expect(store.acquire(claim, request)).rejects.toThrow('given up')
        expect(await store.inspect('k')).toBeUndefined()
      },
    )
  })

  describe('redlockLocks', () => {
    const contender = (options: LocksOptions = {}): Locks =>
      closing(redlockLocks({ ...options, clients, restartGraceMs: 0 }))
    fullCases({ contender, has: () => false }, full)
  })
})
