import type { Lease, Locks } from 'concordat/locks'
import { redisFence, redisLocks } from 'concordat/redis'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { expectWithin } from '../../support/expect-within.ts'
import type { RedisLocksOptions } from '../../support/inside/locks.ts'
import {
  describeWith,
  type Link,
  openLink,
  type PrivateServer,
  portOf,
  type ReplicatedRedis,
  type SentinelRedis,
  startReplicated,
  startSentinels,
  withRedis,
} from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'

/** A single attempt, with the time that it took. */
async function tried(
  locks: Locks,
  key: string,
): Promise<{ tookMs: number; lease?: Lease | undefined; error?: unknown }> {
  const begun = performance.now()
  try {
    const lease = await locks.tryAcquire(key)
    return { tookMs: performance.now() - begun, lease }
  } catch (error) {
    return { tookMs: performance.now() - begun, error }
  }
}

describeWith(['redis'], 'a Redis under Sentinel', { private: true }, () => {
  const open: Locks[] = []
  let group: SentinelRedis
  beforeEach(async () => {
    group = await startSentinels()
  })
  afterEach(async () => {
    await Promise.all(open.splice(0).map((locks) => locks.close()))
    await group.stop()
  })
  const contender = (options: Omit<RedisLocksOptions, 'client' | 'url'> = {}, failoverDetector = false): Locks => {
    const sentinels = [...group.sentinels]
    const client = new Redis({ sentinels, name: group.name, role: 'slave', failoverDetector, lazyConnect: true })
    const locks = redisLocks({ client, answerMs: 300, ...options })
    open.push(locks)
    return locks
  }

  it('loses its master: leases continue, the waiter is served, attempts fail fast until then, tokens continue to rise', async () => {
    const [a, b] = [contender(), contender({ outageMs: 30_000 })]
    const lease = await a.acquire('held', { ttlMs: 30_000 })
    const first = await a.acquire('line', { ttlMs: 30_000 })
    const waiting = b.acquire('line', { waitMs: 60_000 })
    await until('it waits', async () => (await a.inspect('line'))?.waiters.length === 1)
    const old = await group.current()
    await old.kill()
    await until('another master is named', async () => {
      const { tookMs, error } = await tried(a, 'other')
      if (error !== undefined) expect(error).toMatchObject({ code: 'locks.store_unavailable', retryable: true })
      await expectWithin(tookMs, 5_000)
      return (await group.current()) !== old
    })
    await until('it grants again', async () => (await (await tried(a, 'other')).lease?.release()) === 'released')
    lease.assertValid()
    expect(await lease.release()).toBe('released')
    expect(await first.release()).toBe('released')
    expect((await waiting).token).toBeGreaterThan(first.token)
  })

  it('has its master frozen: it fails over, and the old one, woken as a replica, is left', async () => {
    const [a, b] = [contender(), contender({ outageMs: 30_000 })]
    const first = await a.acquire('k', { ttlMs: 30_000 })
    const old = await group.current()
    const waiting = b.acquire('k', { waitMs: 60_000 })
    await until('it waits', async () => (await a.inspect('k'))?.waiters.length === 1)
    old.pause()
    await until('another master is named', async () => {
      await expectWithin((await tried(a, 'other')).tookMs, 5_000)
      return (await group.current()) !== old
    })
    await until('the lease is released at the new master', async () => {
      const info = await a.inspect('k').catch(() => undefined)
      return info?.holders[0]?.token === first.token
    })
    await first.release()
    expect((await waiting).token).toBeGreaterThan(first.token)
    old.resume()
    await until('the old master is a replica', async () =>
      (await withRedis(old, (client) => client.info('replication')).catch(() => '')).includes('role:slave'),
    )
    expect((await tried(contender(), 'new')).lease).toMatchObject({ state: 'held' })
  })

  it('has its master frozen and woken: an idle connection still finds it a master, unless it detects failovers', async () => {
    const [deceived, detecting] = [contender(), contender({}, true)]
    const old = await group.current()
    for (const locks of [deceived, detecting]) expect((await tried(locks, 'first')).error).toBeUndefined()
    old.pause()
    await until('another master is named', async () => (await group.current()) !== old)
    old.resume()
    // A few seconds pass until Sentinel has made it a replica. Until then it grants to clients that did not notice.
    const { lease: there } = await tried(deceived, 'k')
    expect(there).toMatchObject({ state: 'held' })
    let here: Lease | undefined
    await until('the new master grants', async () => {
      here = (await tried(detecting, 'k')).lease
      return here !== undefined
    })
    there?.assertValid()
    expect(here?.token).toBeGreaterThan(there?.token as number)
  })

  it('has its sentinels down for a while: connecting continues until they are back', async () => {
    const client = new Redis({
      sentinels: [{ host: '127.0.0.1', port: 1 }],
      name: group.name,
      lazyConnect: true,
      sentinelRetryStrategy: () => null,
    })
    const locks = redisLocks({ client, answerMs: 200 })
    open.push(locks)
    const { tookMs, error } = await tried(locks, 'k')
    expect(error).toMatchObject({ code: 'locks.store_unavailable', outcome: 'not_done' })
    await expectWithin(tookMs, 5_000)
    expect(locks.health()).toMatchObject({ status: 'down', detail: expect.stringContaining('sentinels') })
  })
})

describeWith(['redis'], 'a master whose last writes never reach its replica', { private: true }, () => {
  const open: Array<{ close(): Promise<void> }> = []
  let group: ReplicatedRedis
  let link: Link
  beforeEach(async () => {
    group = await startReplicated({
      replicas: 1,
      via: async (masterPort) => {
        link = await openLink(masterPort)
        return link.port
      },
    })
  })
  afterEach(async () => {
    await Promise.all(open.splice(0).map((resource) => resource.close()))
    await link.close()
    await group.stop()
  })
  /** Address that can be moved to another server, as DNS or a virtual address does in a failover. */
  const locksAt = (
    server: { readonly url: string },
    options: Omit<RedisLocksOptions, 'client' | 'url'> = {},
  ): Locks => {
    const locks = redisLocks({ url: server.url, ...options })
    open.push(locks)
    return locks
  }

  it('forgets a lock in the failover and grants it again: the fence lets only the younger holder write', async () => {
    const [replica] = group.replicas as readonly [PrivateServer]
    const before = locksAt(group.master)
    await (await before.acquire('k')).release()
    await until('the replica knows', async () => {
      const known = await withRedis(replica, (client) =>
        client.exists('concordat:lock:{k}', 'concordat:lock:{k}:fence'),
      )
      return known === 1
    })
    link.cut()
    const lost = await before.acquire('k', { ttlMs: 30_000 })
    await group.master.kill()
    await withRedis(replica, (client) => client.replicaof('NO', 'ONE'))
    const after = await locksAt(replica).acquire('k', { ttlMs: 30_000 })
    // Both believe: no lease can prevent that. Every sink can tell the older one.
    lost.assertValid()
    after.assertValid()
    expect(after.token).toBeGreaterThan(lost.token)
    await using fence = redisFence({ url: replica.url })
    await fence.write('data', after.token, [['SET', 'data', 'younger']])
    await expect(fence.write('data', lost.token, [['SET', 'data', 'older']])).rejects.toMatchObject({
      code: 'locks.fence_rejected',
      token: lost.token,
      lastToken: after.token,
    })
  })

  it('is demoted under its connections: READONLY sends them to look up the master again', async () => {
    const locks = locksAt(group.master)
    await (await locks.acquire('k')).release()
    await withRedis(group.master, (client) => client.replicaof('127.0.0.1', portOf(group.replicas[0] as PrivateServer)))
    const { error } = await tried(locks, 'other')
    expect(error).toMatchObject({ code: 'locks.store_unavailable', outcome: 'not_done' })
    expect(String(error)).toContain('READONLY')
    await withRedis(group.master, (client) => client.replicaof('NO', 'ONE'))
    await until('it is connected anew', async () => (await tried(locks, 'other')).lease !== undefined)
  })
})
