import { pgClient, pgListener } from 'concordat/core/pg'
import { postgresLocks } from 'concordat/postgres'
import pg from 'pg'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { inLine } from '../../conformance/locks-kit.ts'
import { describeWith, type PrivateServer, startServer } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'

describeWith(['postgres'], 'locks on a PostgreSQL that crashes', { private: true }, () => {
  let server: PrivateServer
  const closing: Array<() => Promise<unknown>> = []
  beforeEach(async () => {
    // Commits that wait for no disk are certainly lost.
    server = await startServer('postgres', { settings: { wal_writer_delay: '10s', synchronous_commit: 'off' } })
  })
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close()
    await server.stop()
  })

  function contender(options: { readonly heartbeatMs?: number } = {}) {
    const pool = new pg.Pool({
      connectionString: server.url,
      max: 3,
      connectionTimeoutMillis: 1_000,
      query_timeout: 1_000,
    })
    const connect = () => new pg.Client({ connectionString: server.url, connectionTimeoutMillis: 1_000 })
    const listener = pgListener({ connect })
    const locks = postgresLocks({ sql: pgClient(pool), listener, outageMs: 60_000, ...options })
    closing.push(
      () => pool.end(),
      () => listener.close(),
      () => locks.close(),
    )
    return locks
  }

  it('keeps every grant it has confirmed, though it commits asynchronously by default, and tokens rise', async () => {
    const [a, b] = [contender(), contender()]
    await a.migrate()
    const held = await Promise.all(['a', 'b', 'c'].map((key) => a.acquire(key, { ttlMs: 60_000 })))
    const shared = await a.acquire('s', { mode: 'shared', ttlMs: 60_000 })
    const tokens = new Map(held.map(({ key, token }) => [key, token]))
    await server.kill()
    await server.start()
    await until('it answers', () => b.inspect('a').then(Boolean, () => false))
    for (const { key, token } of [...held, shared]) {
      expect((await b.inspect(key))?.holders).toMatchObject([{ token }])
      expect(await b.tryAcquire(key)).toBeUndefined()
    }
    for (const lease of held) expect(await lease.release()).toBe('released')
    for (const [key, token] of tokens) expect((await b.acquire(key)).token).toBeGreaterThan(token)
    shared.assertValid()
  })

  it('keeps a lock that a release or a forced release handed to a waiter of its own process', async () => {
    const [a, b] = [contender(), contender()]
    await a.migrate()
    const holders = await Promise.all(['released', 'forced'].map((key) => a.acquire(key, { ttlMs: 60_000 })))
    const waiters = holders.map(({ key }) => a.acquire(key, { ttlMs: 60_000, waitMs: 60_000 }))
    for (const { key } of holders) await inLine(a, key, 1)
    await a.forceRelease('forced', { by: 'ada', reason: 'the node is gone' })
    await holders[0]?.release()
    const served = await Promise.all(waiters)
    await server.kill()
    await server.start()
    await until('it answers', () => b.inspect('released').then(Boolean, () => false))
    for (const { key, token } of served) expect((await b.inspect(key))?.holders).toMatchObject([{ token }])
    for (const lease of served) expect(await lease.release()).toBe('released')
  })

  it('keeps a forced release, and the waiters are served when it is back', async () => {
    const [a, b] = [contender(), contender({ heartbeatMs: 200 })]
    await a.migrate()
    const lost = await a.acquire('k', { ttlMs: 60_000 })
    const forced = await b.forceRelease('k', { by: 'ada', reason: 'the node is gone' })
    const other = await a.acquire('other', { ttlMs: 60_000 })
    const waiting = b.acquire('other', { waitMs: 60_000 })
    await until('it waits', async () => (await a.inspect('other'))?.waiters.length === 1)
    await server.kill()
    await server.start()
    await until('it is released', async () => (await other.release()) === 'released')
    expect((await waiting).token).toBeGreaterThan(other.token)
    expect(await b.audit('k')).toEqual([forced])
    expect(await lost.release()).toBe('lost')
    expect((await a.acquire('k')).token).toBeGreaterThan(forced.token)
  })
})
