import type { Locks } from 'concordat/locks'
import { redisFence, redisLocks } from 'concordat/redis'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { LocksOptions } from '../../support/inside/locks.ts'
import {
  describeWith,
  type PrivateServer,
  type ServerClock,
  serverClock,
  serverClockLack,
  startServer,
  withRedis,
} from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'

const lack = process.env['CONCORDAT_REQUIRE_SERVERS'] === '1' ? undefined : serverClockLack()
const HOUR_MS = 3_600_000

describeWith(
  ['redis'],
  `a Redis whose clock is set${lack === undefined ? '' : ` (${lack})`}`,
  { private: true },
  () => {
    const open: Locks[] = []
    let clock: ServerClock
    let server: PrivateServer
    beforeEach(async (test) => {
      if (lack !== undefined) return test.skip(lack)
      clock = await serverClock()
      server = await startServer('redis', { env: clock.env })
    })
    afterEach(async () => {
      if (lack !== undefined) return
      await Promise.all(open.splice(0).map((locks) => locks.close()))
      await server.stop()
      clock.dispose()
    })
    const contender = (options: LocksOptions = {}): Locks => {
      const locks = redisLocks({ ...options, url: server.url })
      open.push(locks)
      return locks
    }

    it('forward: a held lock ends at once and two believe, but the fence lets only the younger write', async () => {
      const [a, b] = [contender(), contender()]
      await using fence = redisFence({ url: server.url })
      const old = await a.acquire('k', { ttlMs: 60_000 })
      expect(await b.tryAcquire('k')).toBeUndefined()
      clock.shift(61_000)
      const young = await b.acquire('k', { ttlMs: 60_000 })
      old.assertValid()
      young.assertValid()
      expect(young.token).toBeGreaterThan(old.token)
      await fence.write('data', young.token, [['SET', 'data', 'young']])
      await expect(fence.write('data', old.token, [['SET', 'data', 'old']])).rejects.toMatchObject({
        code: 'locks.fence_rejected',
      })
      expect(await old.release()).toBe('lost')
    })

    it('forward: a waiter that loses its place by it is served anyway', async () => {
      const [a, b] = [contender(), contender({ heartbeatMs: 100 })]
      const holder = await a.acquire('k', { ttlMs: 2 * HOUR_MS })
      const waiting = b.acquire('k')
      await until('it waits', async () => (await a.inspect('k'))?.waiters.length === 1)
      clock.shift(HOUR_MS)
      expect(await holder.release()).toBe('released')
      expect((await waiting).token).toBeGreaterThan(holder.token)
    })

    it('back: a lock outlives its dead holder by the step, until the clock is right again', async () => {
      const [a, b] = [contender(), contender()]
      const dead = await a.acquire('k', { ttlMs: 300, maxHoldMs: 0 })
      clock.shift(-HOUR_MS)
      await until('the lease is over', () => dead.remainingMs() <= 0)
      expect(await b.tryAcquire('k')).toBeUndefined()
      expect((await b.inspect('k'))?.holders[0]?.expiresInMs).toBeGreaterThan(HOUR_MS / 2)
      clock.shift(0)
      await until('it is free', async () => (await b.tryAcquire('k')) !== undefined)
    })

    it.for(['exclusive', 'shared'] as const)(
      'back: tokens of %s locks continue to rise, from the counter',
      async (mode) => {
        const locks = contender()
        let last = 0
        for (const offsetMs of [HOUR_MS, 0, -HOUR_MS, -24 * HOUR_MS]) {
          clock.shift(offsetMs)
          // A process of its own each, so that no memory of an older token helps.
          await using other = redisLocks({ url: server.url })
          for (const contender of [locks, other]) {
            const lease = await contender.acquire('k', { mode })
            expect(lease.token).toBeGreaterThan(last)
            last = lease.token
            const [holder] = (await locks.inspect('k'))?.holders ?? []
            expect(holder?.token).toBe(last)
            expect(Math.abs((holder?.sinceAt ?? 0) - (Date.now() + offsetMs))).toBeLessThan(HOUR_MS / 2)
            await lease.release()
          }
        }
      },
    )

    it('back, and the counter lost too: the fence refuses, and reports the least valid token', async () => {
      await using fence = redisFence({ url: server.url })
      await using before = redisLocks({ url: server.url })
      const first = await before.acquire('k')
      await first.release()
      await withRedis(server, (client) => client.del('concordat:lock:{k}:fence'))
      await fence.write('data', first.token, [['SET', 'data', 'first']])
      clock.shift(-HOUR_MS)
      const locks = contender()
      const stale = await locks.acquire('k')
      expect(stale.token).toBeLessThan(first.token)
      const refusal = (await fence.check('data', stale.token).catch((error: unknown) => error)) as { lastToken: number }
      expect(refusal.lastToken).toBe(first.token)
      await stale.release()
      const healed = await locks.acquire('k', { tokenAbove: refusal.lastToken })
      await fence.write('data', healed.token, [['SET', 'data', 'healed']])
    })
  },
)
