import { randomUUID } from 'node:crypto'
import type { Locks } from 'concordat/locks'
import { redisLocks } from 'concordat/redis'
import { Cluster } from 'ioredis'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { locksConformance } from '../../conformance/locks.ts'
import { expectWithin } from '../../support/expect-within.ts'
import type { RedisLocksOptions } from '../../support/inside/locks.ts'
import {
  type ClusterRedis,
  describeWith,
  type PrivateServer,
  portOf,
  startCluster,
  withRedis,
} from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'

describeWith(['redis'], 'Redis Cluster', { private: true }, () => {
  locksConformance('cluster', async () => {
    const cluster = await startCluster()
    const client = new Cluster([...cluster.nodes], { lazyConnect: true })
    const prefix = `test-${randomUUID()}:`
    return {
      contender: (options) => redisLocks({ ...options, client, prefix }),
      leftovers: async () => {
        const found = await Promise.all(
          cluster.masters.map((server) =>
            withRedis(server, async (node) => {
              const keys = await node.keys(`${prefix}*`)
              const expiring = await Promise.all(keys.map(async (key) => (await node.pttl(key)) > 0))
              return keys.filter((key, n) => !/:(fence|audit)$/.test(key) && !(key.includes(':dead:') && expiring[n]))
            }),
          ),
        )
        return found.flat()
      },
      close: async () => {
        client.disconnect()
        await cluster.stop()
      },
    }
  })
})

describeWith(['redis'], 'a Redis Cluster that loses a master', { private: true }, () => {
  const open: Locks[] = []
  let cluster: ClusterRedis
  beforeAll(async () => {
    cluster = await startCluster({ replicas: 1 })
  })
  afterEach(() => Promise.all(open.splice(0).map((locks) => locks.close())))
  afterAll(() => cluster.stop())

  const contender = (options: Omit<RedisLocksOptions, 'client' | 'url'> = {}): Locks => {
    const client = new Cluster([...cluster.nodes], { lazyConnect: true })
    const locks = redisLocks({ client, answerMs: 300, ...options })
    open.push(locks)
    return locks
  }
  /** A lock key whose slot this server has. */
  const keyOn = async (server: PrivateServer): Promise<string> => {
    for (;;) {
      const key = randomUUID()
      if ((await cluster.ownerOf(`{${key}}`)) === server) return key
    }
  }

  it('moves a slot under a held lease and a waiter: both continue at the new node', async () => {
    const [a, b, key] = [contender(), contender(), randomUUID()]
    const lease = await a.acquire(key, { ttlMs: 3_000 })
    const waiting = b.acquire(key, { waitMs: 30_000 })
    await until('it waits', async () => (await a.inspect(key))?.waiters.length === 1)
    const from = await cluster.ownerOf(`{${key}}`)
    const to = cluster.masters.find((server) => server !== from) as PrivateServer
    await migrate(`{${key}}`, from, to, cluster.masters)
    const validUntil = lease.validUntil()
    await until('it is renewed', () => lease.validUntil() > validUntil)
    expect(await lease.release()).toBe('released')
    const next = await waiting
    expect(next.token).toBeGreaterThan(lease.token)
  })

  it('freezes a master: attempts fail within answerMs, locks of the other masters continue', async () => {
    const locks = contender()
    const [frozen, well] = cluster.masters as [PrivateServer, PrivateServer]
    const [stuck, fine] = [await keyOn(frozen), await keyOn(well)]
    await (await locks.acquire(stuck)).release()
    frozen.pause()
    try {
      for (let n = 0; n < 3; n++) {
        const begun = performance.now()
        const error = await locks.tryAcquire(stuck).catch((caught: unknown) => caught)
        expect(error).toMatchObject({ code: 'locks.store_unavailable', retryable: true })
        await expectWithin(performance.now() - begun, 5_000)
        await (await locks.acquire(fine)).release()
      }
    } finally {
      frozen.resume()
    }
    await until('it works again', async () => {
      const lease = await locks.tryAcquire(stuck).catch(() => undefined)
      return (await lease?.release()) === 'released'
    })
  })

  it('kills a master: a replica takes over, waiters are served, tokens continue to rise', async () => {
    const [a, b] = [contender(), contender({ outageMs: 30_000 })]
    const victim = cluster.masters[1] as PrivateServer
    const key = await keyOn(victim)
    const first = await a.acquire(key, { ttlMs: 20_000 })
    const waiting = b.acquire(key, { waitMs: 60_000 })
    await until('it waits', async () => (await a.inspect(key))?.waiters.length === 1)
    const { signal } = first
    await victim.kill()
    const begun = performance.now()
    const error = await a.tryAcquire(key).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'locks.store_unavailable' })
    await expectWithin(performance.now() - begun, 5_000)
    await until('the replica serves', async () => (await a.inspect(key).catch(() => undefined)) !== undefined)
    if (!signal.aborted) expect(await first.release()).toBe('released')
    const served = await waiting
    expect(served.token).toBeGreaterThan(first.token)
    expect(await served.release()).toBe('released')
  })
})

/** Moves the slot of `key` with all its keys, as `redis-cli --cluster reshard` does. */
async function migrate(
  key: string,
  from: PrivateServer,
  to: PrivateServer,
  masters: readonly PrivateServer[],
): Promise<void> {
  const idOf = async (server: PrivateServer): Promise<string> =>
    String(await withRedis(server, (client) => client.call('CLUSTER', 'MYID')))
  const [fromId, toId] = [await idOf(from), await idOf(to)]
  const slot = Number(await withRedis(from, (client) => client.call('CLUSTER', 'KEYSLOT', key)))
  await withRedis(to, (client) => client.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', fromId))
  await withRedis(from, (client) => client.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', toId))
  await withRedis(from, async (client) => {
    for (;;) {
      const keys = (await client.call('CLUSTER', 'GETKEYSINSLOT', slot, 100)) as string[]
      if (keys.length === 0) return
      await client.call('MIGRATE', '127.0.0.1', portOf(to), '', 0, 5_000, 'KEYS', ...keys)
    }
  })
  for (const server of [to, ...masters]) {
    await withRedis(server, (client) => client.call('CLUSTER', 'SETSLOT', slot, 'NODE', toId))
  }
}
