import { randomUUID } from 'node:crypto'
import type { Locks } from 'concordat/locks'
import { redisLocks } from 'concordat/redis'
import { Cluster } from 'ioredis'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { locksConformance } from '../../conformance/locks.ts'
import { inLine } from '../../conformance/locks-kit.ts'
import { expectWithin } from '../../support/expect-within.ts'
import type { RedisLocksOptions } from '../../support/inside/locks.ts'
import {
  describeWith,
  type Link,
  openLink,
  type PrivateServer,
  type ReplicatedRedis,
  startCluster,
  startReplicated,
  withRedis,
} from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'

const PREFIX = 'concordat:lock:'

describeWith(['redis'], 'grants that replicas acknowledge', { private: true }, () => {
  locksConformance('acknowledged', async () => {
    const group = await startReplicated({ replicas: 2 })
    return {
      contender: (options) =>
        redisLocks({ ...options, url: group.master.url, replicas: { count: 2, timeoutMs: 1_000 } }),
      leftovers: () =>
        withRedis(group.master, async (client) => {
          const keys = await client.keys(`${PREFIX}*`)
          const ends = await Promise.all(keys.map((key) => client.pttl(key)))
          return keys.filter((key, n) => !key.endsWith(':fence') && !key.endsWith(':audit') && (ends[n] ?? 0) < 0)
        }),
      close: () => group.stop(),
    }
  })
})

describeWith(['redis'], 'a replica that is cut off from its master', { private: true }, () => {
  const open: Locks[] = []
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
    await Promise.all(open.splice(0).map((locks) => locks.close()))
    await link.close()
    await group.stop()
  })
  const locksAt = (server: PrivateServer, options: Omit<RedisLocksOptions, 'client' | 'url'> = {}): Locks => {
    const locks = redisLocks({ url: server.url, ...options })
    open.push(locks)
    return locks
  }
  const careful = { replicas: { count: 1, timeoutMs: 50 } } as const

  it('makes a try fail and gives the grant back', async () => {
    const locks = locksAt(group.master, careful)
    await (await locks.acquire('k')).release()
    link.cut()
    const error = await locks.tryAcquire('k', { ttlMs: 60_000 }).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'locks.store_unavailable', outcome: 'unknown', retryable: true })
    expect(String(error)).toContain('0 of 1 replica acknowledged it within 50 ms')
    // Other clients, which do not ask the replicas, can have it at once.
    const other = locksAt(group.master)
    await until('it is given back', async () => (await (await other.tryAcquire('k'))?.release()) === 'released')
    link.heal()
    await until('the replica is back', async () => (await locks.tryAcquire('k').catch(() => undefined)) !== undefined)
  })

  it('gives a grant back whose confirmation finds no connection', async () => {
    const locks = locksAt(group.master, careful)
    await (await locks.acquire('warm')).release()
    let error: unknown
    // Repeats until an attempt meets the moment in which only this connection is lost.
    for (let tries = 0; error === undefined && tries < 100; tries++) {
      await withRedis(group.master, async (client) => {
        for (const line of String(await client.client('LIST')).split('\n')) {
          const id = line.includes('name=concordat-locks-replicas') && /id=(\d+)/.exec(line)?.[1]
          if (id) await client.client('KILL', 'ID', id)
        }
      })
      const lease = await locks.tryAcquire('k', { ttlMs: 60_000 }).catch((caught: unknown) => void (error = caught))
      await lease?.release()
    }
    expect(error).toMatchObject({ code: 'locks.store_unavailable', outcome: 'unknown' })
    const other = locksAt(group.master)
    await until('it is given back', async () => (await (await other.tryAcquire('k'))?.release()) === 'released')
  })

  it('gives no waiter a released lock that it would not know to be held', async () => {
    const [holder, next] = [locksAt(group.master, careful), locksAt(group.master, { ...careful, outageMs: 300 })]
    const held = await holder.acquire('k', { ttlMs: 60_000 })
    const waiting = next.acquire('k', { ttlMs: 60_000 }).catch((caught: unknown) => caught)
    await inLine(holder, 'k', 1)
    link.cut()
    expect(await held.release()).toBe('released')
    expect(await waiting).toMatchObject({ code: 'locks.store_unavailable', outcome: 'unknown' })
  })

  it('cannot be promoted to grant a lock again that was granted before', async () => {
    const [replica] = group.replicas as readonly [PrivateServer]
    const locks = locksAt(group.master, careful)
    const lease = await locks.acquire('k', { ttlMs: 60_000 })
    await group.master.kill()
    await withRedis(replica, (client) => client.replicaof('NO', 'ONE'))
    expect(await locksAt(replica).tryAcquire('k')).toBeUndefined()
    lease.assertValid()
  })

  it('ends a lease whose renewals it does not acknowledge, while the master still has it', async () => {
    const locks = locksAt(group.master, careful)
    const lease = await locks.acquire('k', { ttlMs: 600 })
    const { signal } = lease
    link.cut()
    await until('the lease is lost', () => signal.aborted)
    expect(signal.reason).toMatchObject({ code: 'locks.lost', reason: 'expired' })
  })

  it('does not delay the renewals and attempts of clients that do not wait for it', async () => {
    const [waiting, plain] = [
      locksAt(group.master, { replicas: { count: 1, timeoutMs: 2_000 } }),
      locksAt(group.master),
    ]
    await waiting.inspect('k')
    await plain.inspect('k')
    link.cut()
    const slow = Promise.allSettled(Array.from({ length: 20 }, () => waiting.tryAcquire(randomUUID())))
    const begun = performance.now()
    for (let n = 0; n < 50; n++) await (await plain.acquire(randomUUID())).release()
    await expectWithin(performance.now() - begun, 1_800)
    const outcomes = await slow
    expect(outcomes.every(({ status }) => status === 'rejected')).toBe(true)
    // All of them shared one or two waits.
    await expectWithin(performance.now() - begun, 10_000)
  })
})

describeWith(['redis'], 'a cluster whose replicas acknowledge', { private: true }, () => {
  it('grants a lock that the replica of its slot has', async () => {
    await using cluster = await startCluster({ replicas: 1 })
    const client = new Cluster([...cluster.nodes], { lazyConnect: true })
    await using locks = redisLocks({ client, replicas: { count: 1 } })
    for (let n = 0; n < 10; n++) await (await locks.acquire(`k${n}`)).release()
    await using many = redisLocks({ client, replicas: { count: 2, timeoutMs: 20 } })
    await expect(many.tryAcquire('k')).rejects.toThrow('1 of 2 replicas acknowledged')
  })
})
