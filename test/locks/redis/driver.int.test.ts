import { randomUUID } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Locks } from 'concordat/locks'
import { redisLocks } from 'concordat/redis'
import { Redis, type RedisOptions } from 'ioredis'
import { Redis as Redis5 } from 'ioredis5'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { expectWithin } from '../../support/expect-within.ts'
import { runCommand } from '../../support/servers/command.ts'
import { describeWith, type PrivateServer, portOf, startServer, withRedis } from '../../support/servers/index.ts'
import { freePort } from '../../support/servers/ports.ts'
import { until } from '../../support/until.ts'

/** Any: the type of a client depends on how it maps replies. */
type Settings = Omit<RedisOptions, 'protocol' | 'replyMapping'>

/** Two contenders of one client: a grant, a busy try, a wake-up by the release, and nothing left of the client itself. */
async function works(client: Redis): Promise<void> {
  const prefix = `test-${randomUUID()}:`
  await using a = redisLocks({ client, prefix, owner: 'a' })
  await using b = redisLocks({ client, prefix, heartbeatMs: 20_000 })
  const status = client.status
  const lease = await a.acquire('k', { ttlMs: 30_000 })
  expect(lease.token).toBeGreaterThan(1e15)
  expect(await b.tryAcquire('k')).toBeUndefined()
  const waiting = b.acquire('k', { waitMs: 15_000 })
  await until('it waits', async () => (await a.inspect('k'))?.waiters.length === 1)
  const begun = performance.now()
  expect(await lease.release()).toBe('released')
  const next = await waiting
  await expectWithin(performance.now() - begun, 10_000)
  expect(next.token).toBeGreaterThan(lease.token)
  await next.release()
  if (status === 'wait') expect(client.status).toBe('wait')
}

/** Settings of the user's client that would break ours if ours kept them. */
const SETTINGS: Readonly<Record<string, RedisOptions>> = {
  'a key prefix': { keyPrefix: 'app:' },
  'automatic pipelining': { enableAutoPipelining: true },
  'no offline queue': { enableOfflineQueue: false },
  'numbers as strings': { stringNumbers: true },
  'RESP3 with its own reply types': { protocol: 3, replyMapping: 'resp3' },
  'retries forever': { maxRetriesPerRequest: null, retryStrategy: () => 5_000 },
  'no reconnecting': { retryStrategy: () => null },
  'reconnecting at each error': { reconnectOnError: () => 2 },
  'a timeout of each command': { commandTimeout: 1 },
  'reading from replicas': { readOnly: true },
  'no ready check': { enableReadyCheck: false },
  'another database': { db: 3 },
  'a connection that is made at once': { lazyConnect: false },
  'scripts and a name of its own': {
    connectionName: 'app',
    scripts: { acquire: { lua: 'return 1', numberOfKeys: 0 } },
  },
}

/** Both supported major versions; they differ for us only in how they identify themselves to Redis. */
const MAJORS = { 'ioredis 6': Redis, 'ioredis 5.11': Redis5 as unknown as typeof Redis }

describeWith(['redis'], 'the client that is copied', { private: true }, () => {
  let server: PrivateServer
  let tlsPort: number
  let folder: string
  const clients: Redis[] = []
  const clientOf = (options: Settings, Client = Redis): Redis => {
    const client = new Client({ host: '127.0.0.1', port: portOf(server), lazyConnect: true, ...options } as Settings)
    client.on('error', () => {})
    clients.push(client)
    return client
  }

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'concordat-tls-'))
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost']
    await runCommand({ file: 'openssl', args: [...request, '-keyout', key, '-out', cert] }, folder)
    tlsPort = await freePort()
    server = await startServer('redis', {
      settings: {
        'tls-port': String(tlsPort),
        'tls-cert-file': cert,
        'tls-key-file': key,
        'tls-ca-cert-file': cert,
        'tls-auth-clients': 'no',
      },
    })
  })
  afterAll(async () => {
    await server.stop()
    rmSync(folder, { recursive: true })
  })
  afterEach(() => {
    for (const client of clients.splice(0)) client.disconnect()
  })

  describe.for(Object.entries(MAJORS))('of %s', ([, Client]) => {
    it.for(Object.keys(SETTINGS))('may have %s', (name) => works(clientOf(SETTINGS[name] as Settings, Client)))

    it('may not have a database that the server does not have: no command runs in another one', async () => {
      await using locks = redisLocks({ client: clientOf({ db: 999 }, Client) })
      const detail = 'DB index is out of range'
      for (const attempt of [locks.tryAcquire('astray'), locks.acquire('astray'), locks.inspect('astray')]) {
        await expect(attempt).rejects.toMatchObject({
          code: 'locks.store_unavailable',
          outcome: 'not_done',
          message: expect.stringContaining(detail),
        })
      }
      expect(locks.health()).toMatchObject({ status: 'down', detail: expect.stringContaining(detail) })
      await using first = redisLocks({ client: clientOf({}, Client) })
      expect(await first.inspect('astray')).toBeUndefined()
    })

    it('fails fast, and is reconnected by us though it would not reconnect itself', async () => {
      const own = { retryStrategy: () => null, maxRetriesPerRequest: null }
      const locks = redisLocks({ client: clientOf(own, Client), answerMs: 300 })
      await (await locks.acquire('k')).release()
      server.pause()
      const begun = performance.now()
      await expect(locks.tryAcquire('k')).rejects.toMatchObject({ code: 'locks.store_unavailable' })
      await expectWithin(performance.now() - begun, 5_000)
      server.resume()
      await server.kill()
      await expect(locks.tryAcquire('k')).rejects.toMatchObject({ code: 'locks.store_unavailable' })
      await server.start()
      await until('it is back', async () => (await locks.tryAcquire('k').catch(() => undefined)) !== undefined)
      await locks.close()
    })
  })

  it('lends its TLS settings', async () => {
    const ca = readFileSync(join(folder, 'cert.pem'))
    await works(clientOf({ port: tlsPort, tls: { ca, servername: 'localhost' } }))
    const distrusting = redisLocks({ client: clientOf({ port: tlsPort, tls: { servername: 'localhost' } }) })
    await expect(distrusting.tryAcquire('k')).rejects.toMatchObject({
      code: 'locks.store_unavailable',
      message: expect.stringContaining('certificate'),
    })
    await distrusting.close()
  })

  it('passes its user and password on, and reports a wrong one', async () => {
    await withRedis(server, (admin) => admin.call('ACL', 'SETUSER', 'app', 'on', '>secret', '~*', '&*', '+@all'))
    await works(clientOf({ username: 'app', password: 'secret' }))
    const locks = redisLocks({ client: clientOf({ username: 'app', password: 'wrong' }) })
    const error = await locks.tryAcquire('k').catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'locks.store_unavailable', outcome: 'not_done' })
    expect(String(error)).toContain('WRONGPASS')
    await locks.close()
  })
})

describeWith(['redis'], 'scripts', { private: true }, () => {
  let server: PrivateServer
  beforeAll(async () => {
    server = await startServer('redis')
  })
  afterAll(() => server.stop())

  /** Number of calls of each of the two commands. */
  const calls = async (): Promise<{ eval: number; evalsha: number }> => {
    const stats = await withRedis(server, (admin) => admin.info('commandstats'))
    const of = (name: string): number => Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(stats)?.[1] ?? 0)
    return { eval: of('eval'), evalsha: of('evalsha') }
  }

  it('are loaded once, then called by their digest, by all processes', async () => {
    await using first = redisLocks({ url: server.url })
    for (let n = 0; n < 50; n++) await (await first.acquire('k')).release()
    const loaded = await calls()
    expect(loaded.eval).toBeLessThanOrEqual(2)
    await using second = redisLocks({ url: server.url })
    for (let n = 0; n < 50; n++) await (await second.acquire('k')).release()
    const after = await calls()
    expect(after.eval).toBe(loaded.eval)
    expect(after.evalsha - loaded.evalsha).toBe(100)
  })

  describe('under load', () => {
    const contenders: Locks[] = []
    afterEach(() => Promise.all(contenders.splice(0).map((locks) => locks.close())))

    /** Sections that count themselves; `disturb` runs while they do. */
    async function load(disturb: () => Promise<unknown>): Promise<{ sections: number; codes: ReadonlySet<string> }> {
      const codes = new Set<string>()
      let [inside, sections, over, lastToken] = [0, 0, false, 0]
      const worker = async (locks: Locks): Promise<void> => {
        while (!over) {
          try {
            await locks.using('hot', { ttlMs: 5_000, waitMs: 5_000 }, async (lease) => {
              expect(++inside).toBe(1)
              expect(lease.token).toBeGreaterThan(lastToken)
              lastToken = lease.token
              await new Promise((resolve) => setImmediate(resolve))
              inside -= 1
              sections += 1
            })
          } catch (error) {
            codes.add((error as { code: string }).code)
            await new Promise((resolve) => setImmediate(resolve))
          }
        }
      }
      for (let n = 0; n < 4; n++) contenders.push(redisLocks({ url: server.url, heartbeatMs: 100 }))
      const workers = contenders.flatMap((locks) => [worker(locks), worker(locks)])
      for (let n = 0; n < 20; n++) {
        const before = sections
        await disturb()
        await until('sections go on', () => sections > before + 10)
      }
      over = true
      await Promise.all(workers)
      return { sections, codes }
    }

    it('survive SCRIPT FLUSH unnoticed', async () => {
      const { codes } = await load(() => withRedis(server, (admin) => admin.script('FLUSH')))
      expect([...codes]).toEqual([])
    })

    it('survive CLIENT KILL of all connections: some attempts report it, no two sections overlap, work continues', async () => {
      const { codes } = await load(async () => {
        await withRedis(server, (admin) => admin.script('FLUSH'))
        await withRedis(server, (admin) => admin.call('CLIENT', 'KILL', 'TYPE', 'normal'))
        await withRedis(server, (admin) => admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub'))
      })
      expect([...codes].every((code) => code === 'locks.store_unavailable')).toBe(true)
    })
  })
})
