import { randomUUID } from 'node:crypto'
import type { Logger } from 'concordat/core'
import type { Locks } from 'concordat/locks'
import { redisLocks } from 'concordat/redis'
import { Cluster, Redis } from 'ioredis'
import { afterEach, expect, it } from 'vitest'
import {
  describeWith,
  type PrivateServer,
  startCluster,
  startSentinels,
  startServer,
  withRedis,
} from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'

/** Keeps the warnings. */
function listener(): { logger: Logger; warnings: string[] } {
  const warnings: string[] = []
  const silent = (): void => {}
  const logger: Logger = {
    debug: silent,
    info: silent,
    error: silent,
    warn: (...args: readonly unknown[]) => void warnings.push(String(args[1])),
  }
  return { logger, warnings }
}

const GRACE_MS = 2_000
/** A restarted master serves nothing for two seconds by itself, and the client learns of the restart before that. */
const CLUSTER_GRACE_MS = 6_000
/** Waits until the servers have run for longer than the grace, so that their age does not delay grants. */
async function untilOld(graceMs: number, ...servers: readonly PrivateServer[]): Promise<void> {
  for (const server of servers) {
    await until('the server is old enough', async () => {
      const info = await withRedis(server, (client) => client.info('server'))
      return Number(/uptime_in_seconds:(\d+)/.exec(info)?.[1]) * 1_000 > graceMs
    })
  }
}

describeWith(['redis'], 'a server that may have forgotten locks', { private: true }, () => {
  const open: Array<{ close(): Promise<void> }> = []
  afterEach(() => Promise.all(open.splice(0).map((resource) => resource.close())))
  const keep = (locks: Locks): Locks => {
    open.push(locks)
    return locks
  }
  const grants = async (locks: Locks, key: string = randomUUID()): Promise<boolean> =>
    (await locks.tryAcquire(key).catch(() => undefined)) !== undefined

  it('is a replica that was promoted, however long it has run: no grants until the grace is over', async () => {
    await using group = await startSentinels()
    await untilOld(GRACE_MS, ...group.servers)
    const client = new Redis({ sentinels: [...group.sentinels], name: group.name, lazyConnect: true })
    const locks = keep(redisLocks({ client, answerMs: 300, restartGraceMs: GRACE_MS }))
    expect(await grants(locks)).toBe(true)
    await (await group.current()).kill()
    let refusedAt = 0
    await until('the new master is refused', async () => {
      const error = await locks.tryAcquire('k').catch((caught: unknown) => caught)
      refusedAt = performance.now()
      return String(error).includes('may have forgotten locks')
    })
    await until('it grants', () => grants(locks, 'k'))
    expect(performance.now() - refusedAt).toBeGreaterThan(GRACE_MS / 2)
    await locks.close()
  })

  it('is one master of a cluster: the others continue to grant', async () => {
    await using cluster = await startCluster()
    await untilOld(CLUSTER_GRACE_MS, ...cluster.servers)
    const client = new Cluster([...cluster.nodes], { lazyConnect: true })
    const locks = keep(redisLocks({ client, answerMs: 300, restartGraceMs: CLUSTER_GRACE_MS }))
    const [victim, other] = cluster.masters as readonly [PrivateServer, PrivateServer]
    const keyOn = async (server: PrivateServer): Promise<string> => {
      for (;;) {
        const key = randomUUID()
        if ((await cluster.ownerOf(`{${key}}`)) === server) return key
      }
    }
    const [forgotten, kept] = [await keyOn(victim), await keyOn(other)]
    expect(await grants(locks, forgotten)).toBe(true)
    await victim.kill()
    await victim.start()
    await until('the restarted master is refused', async () => {
      const error = await locks.tryAcquire(forgotten).catch((caught: unknown) => caught)
      return String(error).includes('may have forgotten locks')
    })
    expect(await grants(locks, kept)).toBe(true)
    await until('it grants again', () => grants(locks, forgotten))
    await locks.close()
  })

  it('is distinguished from one that may evict them, with one warning', async () => {
    await using server = await startServer('redis', {
      settings: { maxmemory: '64mb', 'maxmemory-policy': 'allkeys-lru' },
    })
    const { logger, warnings } = listener()
    const locks = keep(redisLocks({ url: server.url, logger }))
    expect(await grants(locks)).toBe(true)
    await until('it is warned of', () => warnings.some((warning) => warning.includes('maxmemory-policy noeviction')))
    await withRedis(server, (client) => client.call('CLIENT', 'KILL', 'TYPE', 'normal'))
    await until('it is connected again', () => grants(locks))
    expect(warnings.filter((warning) => warning.includes('noeviction'))).toHaveLength(1)
    await locks.close()
  })

  it('does not report whether it evicts: locks work, with one warning', async () => {
    await using server = await startServer('redis')
    await withRedis(server, (admin) =>
      admin.call('ACL', 'SETUSER', 'blind', 'on', '>secret', '~*', '&*', '+@all', '-info'),
    )
    const { logger, warnings } = listener()
    const client = new Redis(server.url, { username: 'blind', password: 'secret', lazyConnect: true })
    const locks = keep(redisLocks({ client, logger }))
    expect(await grants(locks)).toBe(true)
    await until('it is warned of', () => warnings.length > 0)
    await withRedis(server, (admin) => admin.call('CLIENT', 'KILL', 'TYPE', 'normal'))
    await until('it is connected again', () => grants(locks))
    expect(warnings.filter((warning) => warning.includes('noeviction'))).toHaveLength(1)
    await locks.close()
  })
})
