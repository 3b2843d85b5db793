/**
 * A rule for the health of every part that calls a server: `up` means that the last call succeeded, or the last probe
 * of an idle part. Within ten seconds the part reports that the server stopped, hangs or refuses, and that it works
 * again, without any call by the user in between.
 */

import { createSharedState } from 'concordat/cluster'
import { silentLogger } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { createElection } from 'concordat/election'
import type { ClusterStore } from 'concordat/extension'
import type { Locks } from 'concordat/locks'
import { memoryTransport } from 'concordat/memory'
import { postgresLocks, postgresStateStore } from 'concordat/postgres'
import { type RedisFence, redisFence, redisLocks, redisStateStore } from 'concordat/redis'
import { createService } from 'concordat/service'
import { Pool } from 'pg'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { describeWith, type PrivateServer, startServer, withRedis } from '../support/servers/index.ts'
import { until } from '../support/until.ts'

/** The limit of the rule, and the time that a loaded machine may take more. */
const LIMIT_MS = 10_000 + 5_000

/** Failures of a server, each with its begin and end. */
type Failures = Readonly<Record<string, readonly [begin: () => unknown, end: () => unknown]>>

interface Part {
  readonly health: () => { readonly status: string; readonly detail?: string | undefined }
  /** Makes the first call. */
  readonly use: () => Promise<unknown>
  readonly close: () => Promise<unknown>
}

function locksPart(locks: Locks): Part {
  return {
    health: () => locks.health(),
    use: async () => (await locks.tryAcquire('k'))?.release(),
    close: () => locks.close(),
  }
}

function fencePart(fence: RedisFence): Part {
  return { health: () => fence.health(), use: () => fence.check('r', 1), close: () => fence.close() }
}

function statePart(store: ClusterStore): Part {
  const state = createSharedState<number>({ name: 's', cluster: 'c', store, logger: silentLogger })
  return {
    health: () => state.health(),
    use: () => state.put('k', 1),
    close: () => state.close().then(() => store.close()),
  }
}

/** The whole class: each part against each failure of its server. */
function holdsTheRule(newPart: () => Part | Promise<Part>, failures: () => Failures, names: readonly string[]): void {
  it.for(names)('health reports within ten seconds that its server %s, and that it works again', async (name) => {
    const part = await newPart()
    onTestFinished(() => part.close().then(() => undefined))
    await part.use()
    expect(part.health().status).toBe('up')
    const [begin, end] = failures()[name] ?? expect.fail(name)
    await begin()
    try {
      await until(`it is down: ${name}`, () => part.health().status === 'down', LIMIT_MS)
      expect(part.health().detail).not.toBe('')
    } finally {
      await end()
    }
    await until(`it is up again after: ${name}`, () => part.health().status === 'up', LIMIT_MS)
  })
}

describeWith(['redis'], 'health of parts on Redis', { private: true }, () => {
  let server: PrivateServer
  beforeAll(async () => void (server = await startServer('redis')))
  afterAll(() => server.stop())

  const config = (value: string) => () =>
    withRedis(server, (admin) => admin.call('CONFIG', 'SET', 'min-replicas-to-write', value))
  const failures = (): Failures => ({
    'is killed': [() => server.kill(), () => server.start()],
    hangs: [() => server.pause(), () => server.resume()],
    'has too few replicas': [config('1'), config('0')],
  })
  const names = ['is killed', 'hangs', 'has too few replicas']
  const options = () => ({ url: server.url, logger: silentLogger })

  describe('locks', () => holdsTheRule(() => locksPart(redisLocks(options())), failures, names))
  describe('a shared state', () => holdsTheRule(() => statePart(redisStateStore(options())), failures, names))
  describe('a fence', () => holdsTheRule(() => fencePart(redisFence(options())), failures, names))

  it('a waiting candidate is up again as soon as the store answers', async () => {
    const locks = redisLocks(options())
    const other = redisLocks(options())
    const leader = createElection({ locks: other, role: 'r', ttlMs: 60_000, logger: silentLogger })
    const candidate = createElection({ locks, role: 'r', logger: silentLogger })
    onTestFinished(async () => {
      await Promise.all([leader.close(), candidate.close()])
      await Promise.all([locks.close(), other.close()])
    })
    leader.start()
    await until('one leads', () => leader.status().term !== undefined)
    candidate.start()
    await until('the other is in line', async () => ((await other.inspect('election/r'))?.waiters.length ?? 0) > 0)
    await server.kill()
    await until('it is told', () => candidate.health().status === 'down', LIMIT_MS)
    await server.start()
    await until('it is up again, in line', () => candidate.health().status === 'up', LIMIT_MS)
  })
})

describeWith(['postgres'], 'health of parts on PostgreSQL', { private: true }, () => {
  let server: PrivateServer
  let pool: Pool
  beforeAll(async () => {
    server = await startServer('postgres')
    pool = new Pool({ connectionString: server.url })
    pool.on('error', () => {})
  })
  afterAll(async () => {
    await pool.end()
    await server.stop()
  })

  const admin = (text: string) => async (): Promise<void> => {
    const own = new Pool({ connectionString: server.url, max: 1, options: '-c default_transaction_read_only=off' })
    try {
      for (const statement of text.split(';')) await own.query(statement)
    } finally {
      await own.end()
    }
  }
  const readOnly = (on: string): string =>
    `ALTER SYSTEM SET default_transaction_read_only = ${on}; SELECT pg_reload_conf()`
  const failures = (): Failures => ({
    'is killed': [() => server.kill(), () => server.start()],
    hangs: [() => server.pause(), () => server.resume()],
    'only reads': [admin(readOnly('on')), admin(readOnly('off'))],
    'lost the schema': [admin('ALTER SCHEMA concordat RENAME TO gone'), admin('ALTER SCHEMA gone RENAME TO concordat')],
  })
  const names = ['is killed', 'hangs', 'only reads', 'lost the schema']

  describe('locks', () => {
    holdsTheRule(
      async () => {
        const locks = postgresLocks({ sql: pgClient(pool), logger: silentLogger })
        await locks.migrate()
        return locksPart(locks)
      },
      failures,
      names,
    )
  })

  describe('a shared state', () => {
    holdsTheRule(
      async () => {
        const store = postgresStateStore({ sql: pgClient(pool), logger: silentLogger })
        await store.migrate()
        return statePart(store)
      },
      failures,
      names,
    )
  })

  it('a service is ready again after its locks were refused once, without a call in between', async () => {
    const locks = postgresLocks({ sql: pgClient(pool), logger: silentLogger })
    const service = createService({
      name: 's',
      transport: memoryTransport(),
      locks,
      readiness: ['binder', 'locks'],
      logger: silentLogger,
    })
    onTestFinished(() => service.close().then(() => locks.close()))
    await service.start()
    await (await locks.tryAcquire('k'))?.release()
    await server.kill()
    await expect(locks.tryAcquire('k')).rejects.toThrow()
    expect(service.health().ready).toBe(false)
    await server.start()
    await until('it is ready again', () => service.health().ready, LIMIT_MS)
  })
})
