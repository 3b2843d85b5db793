import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createMembership, createSharedState } from 'concordat/cluster'
import { redisFence, redisLocks, redisStateStore, redlockLocks } from 'concordat/redis'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { describeWith, type PrivateServer, portOf, startServer } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'

/** `ACL SETUSER` of a page, word by word. */
function userOf(page: string, name: string): string[] {
  const text = readFileSync(page, 'utf8')
  const found = new RegExp(`^ACL SETUSER ${name} [^\`]*`, 'm').exec(text)?.[0]
  if (found === undefined) throw new Error(`${page} has no user ${name}`)
  return found
    .replaceAll(/[()]|and for list, forceRelease and audit:/g, ' ')
    .split(/\s+/)
    .slice(2)
    .filter((word) => word !== '')
}

describeWith(['redis'], 'the Redis users of the pages', { private: true }, () => {
  let servers: PrivateServer[] = []
  const clientsOf = async (page: string, name: string): Promise<Redis[]> => {
    const clients: Redis[] = []
    for (const server of servers) {
      const admin = new Redis(server.url)
      await admin.call('ACL', 'SETUSER', ...userOf(page, name))
      admin.disconnect()
      const client = new Redis({ port: portOf(server), username: name, password: 'secret', lazyConnect: true })
      onTestFinished(() => client.disconnect())
      clients.push(client)
    }
    return clients
  }
  const clientOf = async (page: string, name: string): Promise<Redis> => (await clientsOf(page, name))[0] as Redis
  beforeAll(async () => {
    servers = await Promise.all([startServer('redis'), startServer('redis'), startServer('redis')])
  })
  afterAll(() => Promise.all(servers.map((server) => server.stop())))

  it('may do all that locks do', async () => {
    const client = await clientOf('docs/brokers/redis.md', 'locks')
    await using locks = redisLocks({ client, restartGraceMs: 1 })
    await until('it has run for long enough', () =>
      locks.tryAcquire('first').then(
        () => true,
        () => false,
      ),
    )
    await locks.forceRelease('first', { by: 'ada', reason: 'why' })
    const held = await locks.acquire('k')
    const next = locks.acquire('k')
    await until('it waits', async () => (await locks.inspect('k'))?.waiters.length === 1)
    await held.release()
    await (await next).release()
    for (const mode of [{ mode: 'shared' as const }, { permits: 2 }]) await (await locks.acquire('m', mode)).release()
    await locks.acquire('f')
    await locks.forceRelease('f', { by: 'ada', reason: 'why' })
    expect(await locks.audit('f')).toHaveLength(1)
    expect(await locks.list()).toEqual([])
  })

  it('may do all that a fence does', async () => {
    await using fence = redisFence({ client: await clientOf('docs/brokers/redis.md', 'fence') })
    await fence.write('stock:42', 1, [['HSET', 'stock:42', 'left', 7]])
    expect(await fence.raise('stock:42', 5)).toBe(5)
    expect(await fence.lastToken('stock:42')).toBe(5)
    await expect(fence.check('stock:42', 4)).rejects.toMatchObject({ code: 'locks.fence_rejected' })
  })

  it('may do all that a cluster does', async () => {
    const store = redisStateStore({ client: await clientOf('docs/brokers/redis.md', 'cluster') })
    onTestFinished(() => store.close())
    const cluster = randomUUID()
    await using member = createMembership({ store, cluster, service: 's', heartbeatMs: 50 })
    const presence = await member.join()
    await member.update({ v: 2 })
    await using state = createSharedState<number>({ store, cluster, name: 'n' })
    const mirror = await state.mirror()
    const { version } = await state.put('k', 1, { boundTo: presence })
    await state.transact([{ put: 'a', value: 1 }, { delete: 'b' }, { check: 'k', ifVersion: version }])
    await state.delete('a')
    expect((await state.entries()).entries).toHaveLength(1)
    const told: number[] = []
    state.watch((event) => void told.push(event.version), { after: version })
    await until('it is told', () => told.length >= 2)
    await member.leave()
    await until('what was bound is gone', () => mirror.get('k') === undefined)
    await store.sweep(cluster, 1)
  })

  it('may do all that a quorum does', async () => {
    const clients = await clientsOf('docs/brokers/redis.md', 'quorum')
    await using locks = redlockLocks({ clients, restartGraceMs: 0 })
    const held = await locks.acquire('k', { ttlMs: 300 })
    const next = locks.acquire('k')
    await until('it waits', async () => (await locks.inspect('k'))?.waiters.length === 1)
    await held.release()
    await (await next).release()
  })
})
