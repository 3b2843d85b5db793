import { randomUUID } from 'node:crypto'
import type { Locks } from 'concordat/locks'
import { redisLocks } from 'concordat/redis'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { expectWithin } from '../../support/expect-within.ts'
import type { RedisLocksOptions } from '../../support/inside/locks.ts'
import { describeWith, type PrivateServer, startServer } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'

/** Runs `call`. @returns how long it took and how it ended */
async function timed<T>(call: () => Promise<T>): Promise<{ tookMs: number; value?: T; error?: unknown }> {
  const begun = performance.now()
  try {
    const value = await call()
    return { tookMs: performance.now() - begun, value }
  } catch (error) {
    return { tookMs: performance.now() - begun, error }
  }
}

function faults(settings: Readonly<Record<string, string>>) {
  const context = { server: undefined as unknown as PrivateServer, open: [] as Locks[], paused: false }
  beforeEach(async () => {
    context.server = await startServer('redis', { settings })
  })
  afterEach(async () => {
    if (context.paused) resume()
    await Promise.all(context.open.splice(0).map((locks) => locks.close()))
    await context.server.stop()
  })
  const pause = (): void => {
    context.paused = true
    context.server.pause()
  }
  const resume = (): void => {
    context.paused = false
    context.server.resume()
  }
  const contender = (options: Omit<RedisLocksOptions, 'client' | 'url'> = {}): Locks => {
    const locks = redisLocks({ url: context.server.url, ...options })
    context.open.push(locks)
    return locks
  }
  const admin = async <T>(work: (client: Redis) => Promise<T>): Promise<T> => {
    const client = new Redis(context.server.url)
    try {
      return await work(client)
    } finally {
      client.disconnect()
    }
  }
  return { context, contender, admin, pause, resume }
}

describeWith(['redis'], 'a Redis that keeps nothing', { private: true }, () => {
  const { context, contender, admin, pause, resume } = faults({})

  it('is down: a try fails fast, again and again, and works when it is back', async () => {
    const locks = contender({ answerMs: 300 })
    expect(locks.health().status).toBe('idle')
    await context.server.kill()
    for (let n = 0; n < 3; n++) {
      const { tookMs, error } = await timed(() => locks.tryAcquire('k'))
      expect(error).toMatchObject({ code: 'locks.store_unavailable', retryable: true, outcome: 'not_done' })
      await expectWithin(tookMs, 600)
    }
    expect(locks.health()).toMatchObject({ status: 'down', detail: expect.stringContaining('ECONNREFUSED') })
    await context.server.start()
    await until('the connection is back', () => locks.health().status === 'up')
    expect(await locks.tryAcquire('k')).toMatchObject({ state: 'held' })
  })

  it('dies and forgets: the holder learns it at the reconnect, tokens continue to rise', async () => {
    const locks = contender()
    const lease = await locks.acquire('k', { ttlMs: 60_000 })
    const { signal } = lease
    await context.server.kill()
    await until('the connection is lost', () => locks.health().status === 'down')
    lease.assertValid()
    const { tookMs, error } = await timed(() => locks.tryAcquire('other'))
    expect(error).toMatchObject({ code: 'locks.store_unavailable' })
    await expectWithin(tookMs, 100)
    await context.server.start()
    await until('the lease is verified', () => signal.aborted, 10_000)
    expect(signal.reason).toMatchObject({ code: 'locks.lost', reason: 'displaced' })
    const next = await locks.acquire('k')
    expect(next.token).toBeGreaterThan(lease.token)
  })

  it('freezes: attempts fail within answerMs, the lease ends in time, nothing of the lost attempts stays', async () => {
    const locks = contender({ answerMs: 250 })
    const other = contender({ answerMs: 250 })
    const lease = await locks.acquire('held', { ttlMs: 1_500 })
    await other.inspect('held')
    const lost = new Promise<number>((resolve) => {
      lease.signal.addEventListener('abort', () => resolve(lease.validUntil() - Date.now()))
    })
    pause()
    const attempt = await timed(() => locks.acquire('other', { ttlMs: 60_000 }))
    expect(attempt.error).toMatchObject({ code: 'locks.store_unavailable', outcome: 'unknown' })
    await expectWithin(attempt.tookMs, 700)
    const again = await timed(() => locks.tryAcquire('other'))
    expect(again.error).toMatchObject({ code: 'locks.store_unavailable' })
    await expectWithin(again.tookMs, 700)
    await lost
    expect(lease.signal.reason).toMatchObject({ reason: 'expired' })
    resume()
    await until(
      'the other lock is free',
      async () => {
        const free = await other.tryAcquire('other').catch(() => undefined)
        return (await free?.release()) === 'released'
      },
      10_000,
    )
    await until('it works again', () => locks.health().status === 'up')
    expect(await locks.tryAcquire('other')).toMatchObject({ state: 'held' })
  })

  it('freezes while a lock is released: the caller waits about a second at most, and the lock frees itself', async () => {
    const locks = contender({ answerMs: 200 })
    const lease = await locks.acquire('k', { ttlMs: 3_000 })
    pause()
    const { tookMs, value } = await timed(() => lease.release())
    expect(value).toBe('unconfirmed')
    await expectWithin(tookMs, 2_000)
    resume()
    await until('it is free', async () => (await contender().tryAcquire('k')) !== undefined)
  })

  it('loses its scripts, its data, its connections: tokens rise, no lock is granted twice to a believer', async () => {
    const locks = contender()
    const first = await locks.acquire('k', { ttlMs: 300 })
    await admin((client) => client.script('FLUSH'))
    const second = await locks.acquire('other')
    await admin((client) => client.flushall())
    await until('the loss is noticed', () => first.state === 'lost')
    const third = await locks.acquire('k')
    expect(second.token).toBeGreaterThan(first.token)
    expect(third.token).toBeGreaterThan(second.token)
    await admin((client) => client.call('CLIENT', 'KILL', 'TYPE', 'normal'))
    await until('it works again', async () => {
      const lease = await locks.tryAcquire(randomUUID()).catch(() => undefined)
      return lease !== undefined && lease.token > third.token
    })
  })

  it('loses the subscriptions: waiters are served anyway', async () => {
    const [a, b] = [contender(), contender({ heartbeatMs: 200 })]
    const holder = await a.acquire('k')
    const waiting = b.acquire('k')
    await until('it waits', async () => (await a.inspect('k'))?.waiters.length === 1)
    await admin((client) => client.call('CLIENT', 'KILL', 'TYPE', 'pubsub'))
    await holder.release()
    await (await waiting).release()
    await until('it is subscribed again', async () => {
      const channels = (await admin((client) => client.call('PUBSUB', 'CHANNELS', '*'))) as string[]
      return channels.length === 1
    })
  })

  it('restarts while a client waits: the waiter stays and is served', async () => {
    const [a, b] = [contender(), contender()]
    await a.acquire('k', { ttlMs: 60_000 })
    const waiting = b.acquire('k', { waitMs: 30_000 })
    await until('it waits', async () => (await a.inspect('k'))?.waiters.length === 1)
    await context.server.kill()
    await context.server.start()
    await (await waiting).release()
  })

  it('grants nothing after a restart until the grace is over', async () => {
    const locks = contender({ restartGraceMs: 2_500 })
    const { error } = await timed(() => locks.acquire('k'))
    expect(error).toMatchObject({ code: 'locks.store_unavailable', outcome: 'not_done' })
    expect(String(error)).toContain('may have forgotten locks')
    await until('it grants', async () => (await locks.tryAcquire('k').catch(() => undefined)) !== undefined)
  })

  it('grants nothing while it does not report its age', async () => {
    await admin((client) => client.call('ACL', 'SETUSER', 'blind', 'on', '>secret', '~*', '&*', '+@all', '-info'))
    const source = new Redis(context.server.url, { username: 'blind', password: 'secret', lazyConnect: true })
    const locks = redisLocks({ client: source, restartGraceMs: 60_000 })
    context.open.push(locks)
    await expect(locks.tryAcquire('k')).rejects.toMatchObject({ code: 'locks.store_refused' })
    await admin((client) => client.call('ACL', 'SETUSER', 'blind', '+info'))
    await expect(locks.tryAcquire('k')).rejects.toThrow('may have forgotten locks')
  })

  it.for(['', ':fence', ':line', ':shared'] as const)(
    'refuses permanently, and overwrites nothing, when another program keeps a list at the name "{k}%s"',
    async (suffix) => {
      const locks = contender()
      const name = `concordat:lock:{k}${suffix}`
      await admin((client) => client.rpush(name, 'theirs', 'too'))
      for (const mode of ['exclusive', 'shared'] as const) {
        for (const waitMs of [0, 200]) {
          const refused = await locks.acquire('k', { mode, waitMs }).catch((caught: unknown) => caught)
          expect(refused).toMatchObject({ code: 'locks.store_refused', retryable: false })
          expect(String(refused)).toContain('WRONGTYPE')
        }
      }
      expect(await admin((client) => client.lrange(name, 0, -1))).toEqual(['theirs', 'too'])
      await admin((client) => client.del(name))
      expect(await locks.tryAcquire('k')).toMatchObject({ state: 'held' })
    },
  )

  it.for(['exclusive', 'shared'] as const)(
    'neither grants (%s) nor overwrites when the fence holds no token',
    async (mode) => {
      const name = 'concordat:lock:{k}:fence'
      await admin((client) => client.set(name, 'theirs'))
      for (const waitMs of [0, 200]) {
        const refused = contender().acquire('k', { mode, waitMs })
        await expect(refused).rejects.toMatchObject({ code: 'locks.store_refused', retryable: false })
      }
      expect(await admin((client) => client.get(name))).toBe('theirs')
      await admin((client) => client.del(name))
      expect(await contender().tryAcquire('k', { mode })).toMatchObject({ state: 'held' })
    },
  )

  it('refuses to wait when it may not subscribe, and still tries', async () => {
    await admin((client) => client.call('ACL', 'SETUSER', 'mute', 'on', '>secret', '~*', '&*', '+@all', '-subscribe'))
    const source = new Redis(context.server.url, { username: 'mute', password: 'secret', lazyConnect: true })
    const locks = redisLocks({ client: source })
    context.open.push(locks)
    await (await locks.acquire('k')).release()
    const holder = await contender().acquire('k')
    expect(await locks.tryAcquire('k')).toBeUndefined()
    const error = await locks.acquire('k').catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'locks.store_refused', retryable: false })
    expect(String(error)).toContain('NOPERM')
    await holder.release()
    expect(source.status).toBe('wait')
  })

  it('needs one source of connections', () => {
    expect(() => redisLocks({})).toThrow('expected either client (an ioredis instance) or url')
    expect(() => redisLocks({ url: 'redis://x', client: new Redis({ lazyConnect: true }) })).toThrow('either client')
    expect(() => redisLocks({ url: 'redis://x', answerMs: 1 })).toThrow('redisLocks.answerMs')
    expect(() => redisLocks({ url: 'redis://x', prefix: '' })).toThrow('redisLocks.prefix')
  })

  it('spends the same few commands on a hand-over whether 2 or 32 wait', async () => {
    const perHandOver = async (waiters: number): Promise<number> => {
      const contenders = [contender(), contender(), contender()]
      const key = randomUUID()
      const holder = await (contenders[0] as Locks).acquire(key)
      const rounds = 6
      const workers = Array.from({ length: waiters }, async (_, n) => {
        for (let round = 0; round < rounds; round++) await contenders[n % 3]?.using(key, { waitMs: 60_000 }, () => {})
      })
      await until('all wait', async () => (await contenders[0]?.inspect(key))?.waiters.length === waiters)
      await admin((client) => client.config('RESETSTAT'))
      await holder.release()
      await Promise.all(workers)
      const stats = await admin((client) => client.info('commandstats'))
      return Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1]) / (waiters * rounds)
    }
    const [few, many] = [await perHandOver(2), await perHandOver(32)]
    console.log(`  commands per hand-over: ${few.toFixed(2)} with 2 waiters, ${many.toFixed(2)} with 32`)
    expect(many).toBeLessThan(5)
    expect(few).toBeLessThan(5)
  })
})

describeWith(['redis'], 'a Redis that keeps every write', { private: true }, () => {
  const { context, contender } = faults({ appendonly: 'yes', appendfsync: 'always' })

  it('dies and comes back: the lock is still held, by its holder', async () => {
    const [a, b] = [contender(), contender()]
    const lease = await a.acquire('k', { ttlMs: 20_000 })
    await context.server.kill()
    await context.server.start()
    await until('both are connected', () => a.health().status === 'up')
    expect(await b.tryAcquire('k')).toBeUndefined()
    lease.assertValid()
    expect(await lease.release()).toBe('released')
    expect((await b.acquire('k')).token).toBeGreaterThan(lease.token)
  })
})
