import { createElection, createObserver, type Election } from 'concordat/election'
import type { Locks } from 'concordat/locks'
import { redlockLocks } from 'concordat/redis'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { describeWith, type PrivateServer, startServer } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'

describeWith(['redis'], 'an election on a quorum of three servers', { private: true }, () => {
  let servers: PrivateServer[]
  const open: Array<Election | Locks> = []
  beforeEach(async () => {
    servers = await Promise.all([startServer('redis'), startServer('redis'), startServer('redis')])
  })
  afterEach(async () => {
    for (const each of open.splice(0).reverse()) await each.close()
    await Promise.all(servers.map((server) => server.stop()))
  })

  const quorum = (): Locks => {
    const locks = redlockLocks({ urls: servers.map(({ url }) => url), restartGraceMs: 0 })
    open.push(locks)
    return locks
  }
  const candidate = (instance: string): Election => {
    const election = createElection({ locks: quorum(), role: 'r', instance, ttlMs: 2_000, retryMs: 100 })
    open.push(election)
    election.start()
    return election
  }

  it('continues without one server, hands over, and ends the term in time without two', async () => {
    const a = candidate('a')
    await until('a leads', () => a.current() !== undefined)
    const b = candidate('b')
    const observer = createObserver({ locks: quorum(), role: 'r', pollMs: 50 })
    observer.start()
    await until('a is seen', () => observer.current()?.leader === 'a')
    const first = a.current()
    await servers[0]?.kill()
    const validUntil = first?.validUntil() ?? 0
    await until('the lease is renewed without it', () => (first?.validUntil() ?? 0) > validUntil + 500)
    expect(a.current()).toBe(first)
    await a.close()
    await until('b leads', () => b.current() !== undefined)
    const second = b.current()
    expect(second?.term).toBeGreaterThan(first?.term as number)
    await until('b is seen', () => observer.current()?.leader === 'b')
    await servers[1]?.kill()
    await until('b is revoked', () => second?.signal.aborted === true)
    expect(second?.signal.reason).toMatchObject({ code: 'election.term_over', reason: 'lost' })
    expect(b.current()).toBeUndefined()
    await until('the observer knows nothing', () => observer.current() === undefined)
    expect(observer.health().status).toBe('down')
    await observer.close()
  })
})
