/**
 * Faults of the package `redlock` (5.0.0-beta.2), and our locks on it in the same situation. The first of each pair is
 * a negative control: if it fails, the package has changed, and the guard may be unnecessary.
 */
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { promisify } from 'node:util'
import { redlockLocks } from 'concordat/redis'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { expectWithin } from '../../support/expect-within.ts'
import { bareRedlock } from '../../support/locks/bare-redlock.ts'
import { outcome, Quorum } from '../../support/locks/quorum.ts'
import { describeWith } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'

const PREFIX = 'concordat:redlock:'

describeWith(['redis'], 'three servers', { private: true }, () => {
  let quorum: Quorum
  let key: string
  beforeAll(async () => {
    quorum = await Quorum.start(3)
  })
  afterEach(() => quorum.reset())
  afterAll(() => quorum.close())
  const fresh = (): string => {
    key = randomUUID()
    return key
  }
  /** Another owner's vote of one server, for redlock and for us. */
  const foreign = (n: number, forMs: number): Promise<unknown> =>
    quorum.admin(n, (client) =>
      Promise.all([key, `${PREFIX}{${key}}`].map((name) => client.set(name, 'x.0.other', 'PX', forMs))),
    )

  describe('an expired lock', () => {
    it('redlock alone: hands one out after waiting, for it counts from before all its tries', async () => {
      const redlock = await bareRedlock(quorum.clients(), { retryCount: -1, retryDelay: 20, retryJitter: 0 })
      fresh()
      await Promise.all([0, 1, 2].map((n) => foreign(n, 500)))
      const lock = await redlock.acquire([key], 300)
      expect(lock.expiration - Date.now()).toBeLessThan(-50)
    })

    it('redlock alone: hands one out when most servers answer late', async () => {
      const redlock = await bareRedlock(quorum.clients())
      await redlock.acquire([randomUUID()], 300)
      for (const n of [0, 1]) quorum.link(n).slow(() => 250)
      const lock = await redlock.acquire([fresh()], 300)
      expect(lock.expiration - Date.now()).toBeLessThan(0)
    })

    it('is never granted, after any wait', async () => {
      fresh()
      await Promise.all([0, 1, 2].map((n) => foreign(n, 2_000)))
      const lease = await quorum.contender().acquire(key, { ttlMs: 1_500 })
      expect(lease.remainingMs()).toBeGreaterThan(150)
      lease.assertValid(150)
    })

    it('is never granted, however late the servers answer', async () => {
      const locks = quorum.contender()
      await (await locks.acquire(randomUUID())).release()
      for (const n of [0, 1]) quorum.link(n).slow(() => 250)
      const { error, tookMs } = await outcome(locks.acquire(fresh(), { ttlMs: 300 }), 5_000)
      expect(error).toMatchObject({ code: 'locks.store_unavailable', outcome: 'unknown' })
      await expectWithin(tookMs, 1_000)
      for (const n of [0, 1]) quorum.link(n).heal()
      await until('what arrived late is undone', async () => {
        const votes = await quorum.everywhere((client) => client.exists(`${PREFIX}{${key}}`))
        return votes.every((vote) => vote === 0)
      })
    })
  })

  describe('a tie', () => {
    it('redlock alone: never settles when an even number of servers is split', async () => {
      const redlock = await bareRedlock(quorum.clients([0, 1]), { retryCount: 0 })
      fresh()
      await foreign(0, 60_000)
      expect(await outcome(redlock.acquire([key], 1_000), 2_000)).toMatchObject({ state: 'pending' })
    })

    it('cannot be: an even number is refused', () => {
      expect(() => redlockLocks({ urls: quorum.urls.slice(0, 2) })).toThrow('expected an odd number')
    })

    it('a tie of three settles at once: each server has voted for another', async () => {
      const locks = quorum.contender()
      await (await locks.acquire(randomUUID())).release()
      fresh()
      await Promise.all([0, 1].map((n) => quorum.admin(n, (client) => client.set(`${PREFIX}{${key}}`, `v${n}`))))
      const { error, tookMs } = await outcome(locks.acquire(key, { waitMs: 0 }), 5_000)
      expect(error).toMatchObject({ code: 'locks.busy' })
      await expectWithin(tookMs, 1_500)
      expect(await quorum.admin(2, (client) => client.exists(`${PREFIX}{${key}}`))).toBe(0)
    })
  })

  describe('a server that does not answer', () => {
    it('redlock alone: never settles when the others are split', async () => {
      const redlock = await bareRedlock(quorum.clients(), { retryCount: 0 })
      fresh()
      await foreign(0, 60_000)
      quorum.freeze(1)
      expect(await outcome(redlock.acquire([key], 1_000), 2_000)).toMatchObject({ state: 'pending' })
    })

    it('redlock alone: a release never settles when two are frozen', async () => {
      const redlock = await bareRedlock(quorum.clients(), { retryCount: 0 })
      const lock = await redlock.acquire([fresh()], 60_000)
      quorum.freeze(0, 1)
      expect(await outcome(lock.release(), 2_000)).toMatchObject({ state: 'pending' })
    })

    it('delays nothing: the others decide', async () => {
      const locks = quorum.contender()
      fresh()
      await (await locks.acquire(key)).release()
      await foreign(0, 60_000)
      quorum.freeze(1)
      const split = await outcome(locks.tryAcquire(key), 5_000)
      expect(split).toMatchObject({ state: 'resolved', value: undefined })
      await expectWithin(split.tookMs, 1_500)
      const lease = await outcome(locks.acquire(randomUUID()), 5_000)
      expect(lease.state).toBe('resolved')
      await expectWithin(lease.tookMs, 500)
    })

    it('two silent servers end a release after about a second, unconfirmed', async () => {
      const lease = await quorum.contender().acquire(fresh(), { ttlMs: 5_000 })
      quorum.freeze(0, 1)
      const released = await outcome(lease.release(), 5_000)
      expect(released).toMatchObject({ state: 'resolved', value: 'unconfirmed' })
      await expectWithin(released.tookMs, 2_000)
    })
  })

  describe('silence while work is running', () => {
    it('redlock alone: does not report the end of the lock, even a second later', async () => {
      const redlock = await bareRedlock(quorum.clients())
      const settings = { automaticExtensionThreshold: 200 }
      const done = Promise.withResolvers<void>()
      let aborted: boolean | undefined
      const running = redlock.using([fresh()], 600, settings, async (signal) => {
        quorum.freeze(0, 1, 2)
        const { promise, resolve } = Promise.withResolvers<boolean>()
        signal.addEventListener('abort', () => resolve(true))
        aborted = (await outcome(promise, 1_600)).value === true
        done.resolve()
      })
      running.catch(() => {})
      await done.promise
      expect(aborted).toBe(false)
    })

    it('aborts before the servers can give the lock away', async () => {
      const locks = quorum.contender()
      const running = locks.using(fresh(), { ttlMs: 600 }, async (lease) => {
        const begun = performance.now()
        quorum.freeze(0, 1, 2)
        await new Promise((resolve) => lease.signal.addEventListener('abort', resolve))
        return performance.now() - begun
      })
      const { state, error, tookMs } = await outcome(running, 5_000)
      expect(state).toBe('rejected')
      expect(error).toMatchObject({ code: 'locks.lost', reason: 'expired' })
      await expectWithin(tookMs, 1_000)
    })
  })

  describe('the release of a lock that is over', () => {
    it('redlock alone: is tried forever with retryCount -1, and for seconds by default', async () => {
      const redlock = await bareRedlock(quorum.clients())
      const lock = await redlock.acquire([fresh()], 100)
      const other = await redlock.acquire([randomUUID()], 100)
      await until('both are over', async () => (await quorum.admin(0, (client) => client.dbsize())) === 0)
      const [forEver, byDefault] = await Promise.all([
        outcome(redlock.release(lock, { retryCount: -1, retryDelay: 20 }), 3_000),
        outcome(other.release(), 10_000),
      ])
      expect(forEver.state).toBe('pending')
      expect(byDefault).toMatchObject({ state: 'rejected', error: { name: 'ExecutionError' } })
      expect(byDefault.tookMs).toBeGreaterThan(1_000)
    })

    it('says lost, at once', async () => {
      const lease = await quorum.contender().acquire(fresh(), { ttlMs: 1_000, maxHoldMs: 0 })
      await until('it is over', () => lease.state === 'lost')
      const released = await outcome(lease.release(), 5_000)
      expect(released).toMatchObject({ state: 'resolved', value: 'lost' })
      await expectWithin(released.tookMs, 50)
    })

    it('returns lost, at once, also when only the servers know', async () => {
      const lease = await quorum.contender().acquire(fresh())
      await quorum.everywhere((client) => client.flushall())
      const released = await outcome(lease.release(), 5_000)
      expect(released).toMatchObject({ state: 'resolved', value: 'lost' })
      await expectWithin(released.tookMs, 500)
    })
  })

  describe('a vote of its own', () => {
    it('redlock alone: stands in its way when the first reply was lost', async () => {
      const clients = quorum.clients()
      const redlock = await bareRedlock(clients, { retryCount: 3, retryDelay: 50, retryJitter: 0 })
      const first = randomUUID()
      await redlock.acquire([first], 60_000)
      const votes = async (name: string): Promise<boolean> =>
        (await quorum.everywhere((client) => client.exists(name))).every((one) => one === 1)
      await until('all know the script', () => votes(first))
      for (const link of quorum.links) link.hold('replies')
      const acquiring = outcome(redlock.acquire([fresh()], 60_000), 20_000)
      await until('all have voted', () => votes(key))
      for (const link of quorum.links) link.cut()
      for (const link of quorum.links) link.heal()
      expect(await acquiring).toMatchObject({ state: 'rejected', error: { name: 'ExecutionError' } })
    })

    it('redlock alone: blocks its next attempt, for it keeps the lock of a lost vote', async () => {
      const redlock = await bareRedlock(quorum.clients(), { retryCount: 15, retryDelay: 50, retryJitter: 0 })
      fresh()
      await Promise.all([foreign(1, 200), foreign(2, 60_000)])
      const acquiring = outcome(redlock.acquire([key], 60_000), 20_000)
      await until('the other vote is over', async () => (await quorum.admin(1, (client) => client.exists(key))) === 0)
      // From here on two of three servers would vote for it, if one of them had not already.
      expect(await acquiring).toMatchObject({ state: 'rejected', error: { name: 'ExecutionError' } })
    })

    it('is taken back when the first reply was lost, and blocks no other', async () => {
      const locks = quorum.contender()
      const first = await locks.acquire(randomUUID())
      await until('all know the script', async () => {
        const lock = `${PREFIX}{${first.key}}`
        return (await quorum.everywhere((client) => client.exists(lock))).every((one) => one === 1)
      })
      for (const link of quorum.links) link.hold('replies')
      const acquiring = outcome(locks.acquire(fresh(), { ttlMs: 30_000 }), 5_000)
      await until('all have voted', async () => {
        return (await quorum.everywhere((client) => client.exists(`${PREFIX}{${key}}:fence`))).every((one) => one === 1)
      })
      expect((await acquiring).error).toMatchObject({ code: 'locks.store_unavailable', outcome: 'unknown' })
      for (const link of quorum.links) link.cut()
      for (const link of quorum.links) link.heal()
      const begun = performance.now()
      await until('the key can be had', async () => {
        return (await locks.tryAcquire(key).catch(() => undefined)) !== undefined
      })
      await expectWithin(performance.now() - begun, 5_000)
    })

    it('is given back when the vote is lost, so that its next try finds the way free', async () => {
      const locks = quorum.contender()
      await (await locks.acquire(randomUUID())).release()
      fresh()
      await Promise.all([foreign(1, 200), foreign(2, 60_000)])
      const { state, tookMs } = await outcome(locks.acquire(key, { ttlMs: 30_000 }), 5_000)
      expect(state).toBe('resolved')
      await expectWithin(tookMs, 1_500)
    })
  })

  describe('errors', () => {
    it('redlock alone: hides the error of the work behind one of its release', async () => {
      const redlock = await bareRedlock(quorum.clients(), { retryCount: 0 })
      const running = redlock.using([fresh()], 5_000, {}, async () => {
        await quorum.everywhere((client) => client.del(key))
        throw new Error('the order is unknown')
      })
      await expect(running).rejects.toMatchObject({ name: 'ExecutionError' })
    })

    it('the error of the work is passed on, with any state of the lock', async () => {
      const error = new Error('the order is unknown')
      const locks = quorum.contender()
      const forgotten = locks.using(fresh(), {}, async () => {
        await quorum.everywhere((client) => client.flushall())
        throw error
      })
      await expect(forgotten).rejects.toBe(error)
      const away = locks.using(fresh(), { ttlMs: 1_000 }, async () => {
        for (const link of quorum.links) link.cut()
        throw error
      })
      await expect(away).rejects.toBe(error)
    })

    it('redlock alone: are the same whether the lock is held or the servers are down', async () => {
      const redlock = await bareRedlock(quorum.clients(), { retryCount: 0 })
      await redlock.acquire([fresh()], 5_000)
      const held = await outcome(redlock.acquire([key], 1_000), 5_000)
      const away = [1, 2, 3].map((port) => new Redis(port, { lazyConnect: true, enableOfflineQueue: false }))
      for (const client of away) client.on('error', () => {})
      const unreachable = await outcome((await bareRedlock(away, { retryCount: 0 })).acquire([key], 1_000), 5_000)
      for (const client of away) client.disconnect()
      expect(held.state).toBe('rejected')
      expect(String(unreachable.error)).toBe(String(held.error))
    })

    it('distinguish a held lock from servers that are down, with their names', async () => {
      const [a, b] = [quorum.contender({ owner: 'a' }), quorum.contender()]
      await a.acquire(fresh())
      await expect(b.acquire(key, { waitMs: 0 })).rejects.toMatchObject({ code: 'locks.busy', owner: 'a' })
      await expect(b.acquire(key, { waitMs: 50 })).rejects.toMatchObject({ code: 'locks.timeout', owner: 'a' })
      for (const n of [0, 2]) await quorum.server(n).kill()
      const error = await b.acquire(randomUUID()).catch((caught: unknown) => caught)
      expect(error).toMatchObject({ code: 'locks.store_unavailable', retryable: true })
      const text = String(error)
      expect(text).toContain('1 of 3 servers answered, 2 must agree')
      for (const n of [0, 2]) expect(text).toContain(`127.0.0.1:${quorum.link(n).port}: `)
      expect(text).toContain(`127.0.0.1:${quorum.link(1).port}: voted for it`)
      expect(b.health()).toMatchObject({ status: 'down', detail: expect.stringContaining(`${quorum.link(0).port}`) })
    })

    it('redlock alone: a client that rejects with something else ends the process, or never settles', async () => {
      const script = `
        import Redlock from 'redlock'
        const broken = () => ({ evalsha: () => Promise.reject('away'), eval: () => Promise.reject('away') })
        process.on('unhandledRejection', (reason) => { console.log('unhandled', String(reason)); process.exit(3) })
        await new Redlock([broken(), broken(), broken()]).acquire(['k'], 1000)
        console.log('settled')`
      const run = promisify(execFile)(process.execPath, ['--input-type=module', '-e', script])
      const ended = (await run.catch((caught: unknown) => caught)) as { code?: number; stdout: string }
      expect(ended).toMatchObject({ code: 3, stdout: expect.stringContaining('unhandled') })
    })

    it('no rejection is left unhandled while servers come and go', async () => {
      const unhandled: unknown[] = []
      const note = (reason: unknown): void => void unhandled.push(reason)
      process.on('unhandledRejection', note)
      try {
        const contenders = Array.from({ length: 3 }, () => quorum.contender())
        const over = AbortSignal.timeout(2_500)
        const workers = contenders.map(async (locks) => {
          while (!over.aborted) {
            const options = { ttlMs: 200, waitMs: 100, signal: over }
            await locks.using('busy', options, () => new Promise((resolve) => setImmediate(resolve))).catch(() => {})
          }
        })
        for (let n = 0; !over.aborted; n++) {
          quorum.link(n % 3).cut()
          quorum.link((n + 1) % 3).hold('replies')
          await until('it hurts', () => over.aborted || contenders.some((locks) => locks.health().status === 'down'))
          for (const link of quorum.links) link.heal()
          await until('it is back', () => over.aborted || contenders.every((locks) => locks.health().status === 'up'))
        }
        await Promise.all(workers)
        await Promise.all(contenders.map((locks) => locks.close()))
      } finally {
        process.off('unhandledRejection', note)
      }
      expect(unhandled).toEqual([])
    })
  })

  describe('one server by several names', () => {
    it('redlock alone: a client given three times is a quorum of one', async () => {
      const [client] = quorum.clients([0])
      const redlock = await bareRedlock([client, client, client])
      for (const n of [1, 2]) await quorum.server(n).kill()
      expect(await outcome(redlock.acquire([fresh()], 1_000), 5_000)).toMatchObject({ state: 'resolved' })
    })

    it('is refused when it is seen, at construction', () => {
      const [client] = quorum.clients([0]) as [Redis]
      expect(() => redlockLocks({ clients: [client, client, client] })).toThrow('each server once')
    })

    it('is refused when it connects, by the server’s own identity', async () => {
      const urls = [quorum.server(0).url, ...quorum.urls.slice(0, 2)]
      const errors: string[] = []
      const noted = (_fields: unknown, message: string): void => void errors.push(message)
      const ignore = (): void => {}
      const logger = { debug: ignore, info: ignore, warn: ignore, error: noted }
      await using locks = redlockLocks({ urls, restartGraceMs: 0, logger })
      const error = await locks.tryAcquire(fresh()).catch((caught: unknown) => caught)
      expect(error).toMatchObject({ code: 'locks.store_refused', retryable: false })
      expect(String(error)).toContain(`is the same server as 127.0.0.1:${quorum.link(0).port}`)
      expect(errors).toEqual([expect.stringContaining('name each server once')])
    })
  })
})
