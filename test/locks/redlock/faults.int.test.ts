import { randomUUID } from 'node:crypto'
import { createElection } from 'concordat/election'
import type { Lease, Locks } from 'concordat/locks'
import { redisFence } from 'concordat/redis'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { expectWithin } from '../../support/expect-within.ts'
import { FakeClock } from '../../support/locks/fake-clock.ts'
import { outcome, Quorum } from '../../support/locks/quorum.ts'
import { describeWith, serverClock, serverClockLack } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'

const PREFIX = 'concordat:redlock:'

function setup(size: number) {
  const context = { quorum: undefined as unknown as Quorum, key: '' }
  beforeAll(async () => {
    context.quorum = await Quorum.start(size)
  })
  afterEach(() => context.quorum.reset())
  afterAll(() => context.quorum.close())
  const fresh = (): string => (context.key = randomUUID())
  const votes = (key = context.key): Promise<number[]> =>
    context.quorum.everywhere((client) => client.exists(`${PREFIX}{${key}}`))
  /** Connected to all servers it can reach. */
  const warm = async (locks: Locks): Promise<void> => {
    await (await locks.acquire(randomUUID())).release()
  }
  return { context, fresh, votes, warm }
}

describeWith(['redis'], 'a server that dies and forgets', { private: true }, () => {
  const { context, fresh, votes } = setup(3)

  /** Holds `key` by the votes of servers 0 and 1, and believes in it without ever asking them again. */
  const heldByTwo = async (holder: Locks, ttlMs = 30_000): Promise<Lease> => {
    const { quorum } = context
    quorum.link(2).cut()
    const lease = await holder.acquire(fresh(), { ttlMs, maxHoldMs: 0 })
    expect(await votes()).toEqual([1, 1, 0])
    quorum.link(2).heal()
    return lease
  }

  it('a server that forgets and votes at once (restartGraceMs: 0) gives the lock to a second believing holder', async () => {
    const { quorum } = context
    const first = await heldByTwo(quorum.contender())
    await quorum.server(1).kill()
    await quorum.server(1).start()
    const second = await quorum.contender().acquire(context.key)
    first.assertValid()
    second.assertValid()
    expect(second.token).toBeGreaterThan(first.token)
  })

  it('two servers that are emptied while they run let two believe: the fence refuses the older one', async () => {
    const { quorum } = context
    const first = await heldByTwo(quorum.contender())
    for (const n of [0, 1]) await quorum.admin(n, (client) => client.flushall())
    const second = await quorum.contender().acquire(context.key)
    first.assertValid()
    second.assertValid()
    await using fence = redisFence({ url: quorum.server(2).url })
    await fence.write('stock', second.token, [['SET', 'stock', 'by the second']])
    const late = fence.write('stock', first.token, [['SET', 'stock', 'by the first']])
    await expect(late).rejects.toMatchObject({ code: 'locks.fence_rejected', lastToken: second.token })
    expect(await quorum.admin(2, (client) => client.get('stock'))).toBe('by the second')
  })

  it('does not vote until all it may have forgotten is over', async () => {
    const { quorum } = context
    const graceMs = 3_000
    const contender = (): Locks => quorum.contender({ restartGraceMs: graceMs })
    await until('the servers are old enough', async () => {
      return Math.min(...(await quorum.everywhere(uptimeMs))) >= graceMs + 1_000
    })
    const first = await heldByTwo(contender(), graceMs)
    await quorum.server(1).kill()
    await quorum.server(1).start()
    const other = contender()
    expect(await other.tryAcquire(context.key, { ttlMs: 3_000 })).toBeUndefined()
    const second = await other.acquire(context.key, { ttlMs: 3_000, waitMs: 30_000 })
    expect(() => first.assertValid()).toThrow(expect.objectContaining({ code: 'locks.lost' }))
    expect(second.token).toBeGreaterThan(first.token)
  })

  it('is reported when it is one too many', async () => {
    const { quorum } = context
    for (const n of [0, 1]) await quorum.server(n).kill()
    for (const n of [0, 1]) await quorum.server(n).start()
    const locks = quorum.contender({ restartGraceMs: 30_000 })
    const error = await locks.tryAcquire(fresh()).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'locks.store_unavailable', outcome: 'not_done', retryable: true })
    expect(String(error)).toMatch(/may have forgotten votes, it votes again in \d+ ms \(restartGraceMs\)/)
  })

  it('is given its vote back by the holder, who keeps the lock when another one dies after it', async () => {
    const { quorum } = context
    const holder = quorum.contender()
    const lease = await holder.acquire(fresh(), { ttlMs: 8_000 })
    for (const n of [0, 1]) {
      await quorum.server(n).kill()
      await quorum.server(n).start()
      await until('it votes for the holder again', async () => (await votes())[n] === 1)
    }
    const until1 = lease.validUntil()
    await quorum.server(2).kill()
    await until('the lease is renewed twice', () => lease.validUntil() > until1 + 1_500)
    expect(await quorum.contender().tryAcquire(context.key)).toBeUndefined()
    expect(await lease.release()).toBe('released')
  })

  it('is given the token with the vote, so that tokens rise though no server is left that issued it', async () => {
    const { quorum } = context
    // Ahead of the clocks of the servers, which would give a lower token by themselves.
    const tokenAbove = Date.now() * 1_000 + 600_000_000
    const lease = await quorum.contender().acquire(fresh(), { ttlMs: 8_000, tokenAbove })
    for (const n of [0, 1]) {
      await quorum.server(n).kill()
      await quorum.server(n).start()
      await until('it votes for the holder again', async () => (await votes())[n] === 1)
    }
    await quorum.server(2).kill()
    expect(await lease.release()).toBe('released')
    // Another process, which has seen no token.
    const next = await quorum.contender().acquire(context.key)
    expect(next.token).toBeGreaterThan(lease.token)
  })

  it('two at once: the holder learns it when they are back, tokens continue to rise', async () => {
    const { quorum } = context
    const lease = await quorum.contender().acquire(fresh(), { ttlMs: 20_000 })
    const { signal } = lease
    for (const n of [0, 1]) await quorum.server(n).kill()
    const other = quorum.contender()
    const error = await other.tryAcquire(randomUUID()).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'locks.store_unavailable', outcome: 'not_done' })
    lease.assertValid()
    for (const n of [0, 1]) await quorum.server(n).start()
    await until('the lease is verified', () => signal.aborted, 10_000)
    expect(signal.reason).toMatchObject({ code: 'locks.lost', reason: 'displaced' })
    await until('it works again', async () => {
      const next = await other.tryAcquire(context.key).catch(() => undefined)
      return next !== undefined && next.token > lease.token
    })
  })

  it('does not end the term of a leader elected on the quorum, and a successor is granted a higher one', async () => {
    const { quorum } = context
    const role = randomUUID()
    const terms: number[] = []
    const candidates = [1, 2].map(() => {
      const locks = quorum.contender()
      return createElection({ locks, role, ttlMs: 6_000, onGranted: ({ term }) => void terms.push(term) })
    })
    for (const candidate of candidates) candidate.start()
    await until('one of them leads', () => terms.length === 1)
    const leader = candidates.find((candidate) => candidate.current() !== undefined)
    for (const n of [0, 2]) {
      const validUntil = leader?.current()?.validUntil() ?? 0
      await quorum.server(n).kill()
      await until('it is renewed', () => {
        const term = leader?.current()
        if (term === undefined) throw new Error('its term has ended')
        return term.validUntil() > validUntil + 1_500
      })
      await quorum.server(n).start()
      await until('it has its vote again', async () => (await votes(`election/${role}`))[n] === 1)
    }
    expect(terms).toHaveLength(1)
    await leader?.close()
    await until('the other one leads', () => terms.length === 2)
    expect(terms[1]).toBeGreaterThan(terms[0] ?? 0)
    await Promise.all(candidates.map((candidate) => candidate.close()))
  })

  it('while a client waits: the waiter stays and is served', async () => {
    const { quorum } = context
    const [a, b] = [quorum.contender(), quorum.contender()]
    const holder = await a.acquire(fresh(), { ttlMs: 60_000 })
    const waiting = b.acquire(context.key, { waitMs: 30_000 })
    await until('it waits', async () => (await a.inspect(context.key))?.waiters.length === 1)
    await quorum.server(1).kill()
    await holder.release()
    await (await waiting).release()
  })
})

describeWith(['redis'], 'servers that are slow, mute or out of reach', { private: true }, () => {
  const { context, fresh, votes, warm } = setup(3)

  it('a minority frozen holds up no grant, no renewal and no release', async () => {
    const { quorum } = context
    const locks = quorum.contender()
    const held = await locks.acquire(fresh(), { ttlMs: 1_000 })
    const until1 = held.validUntil()
    quorum.freeze(2)
    const first = await outcome(
      locks.using(randomUUID(), {}, () => {}),
      5_000,
    )
    await expectWithin(first.tookMs, 700)
    const begun = performance.now()
    for (let n = 0; n < 20; n++) await locks.using(randomUUID(), {}, () => {})
    await expectWithin(performance.now() - begun, 1_500)
    await until('the lease held before goes on', () => held.validUntil() > until1 + 2_000)
    expect(await held.release()).toBe('released')
    expect(locks.health()).toMatchObject({ status: 'up', detail: expect.stringContaining(`${quorum.link(2).port}`) })
  })

  it('a majority frozen: attempts fail in time, the lease ends in time, nothing stays when they thaw', async () => {
    const { quorum } = context
    const [locks, other] = [quorum.contender(), quorum.contender()]
    const lease = await locks.acquire(fresh(), { ttlMs: 1_500 })
    await warm(other)
    const { signal } = lease
    quorum.freeze(0, 1)
    const lost = randomUUID()
    const attempt = await outcome(other.acquire(lost, { ttlMs: 30_000 }), 5_000)
    expect(attempt.error).toMatchObject({ code: 'locks.store_unavailable', outcome: 'unknown' })
    await expectWithin(attempt.tookMs, 1_500)
    expect(String(attempt.error)).toContain('no answer within 200 ms')
    await until('the lease is over', () => signal.aborted, 3_000)
    expect(signal.reason).toMatchObject({ reason: 'expired' })
    quorum.thaw()
    await until('nothing of the try is left', async () => (await votes(lost)).every((vote) => vote === 0), 10_000)
    await until('it works again', async () => {
      return (await other.tryAcquire(lost).catch(() => undefined)) !== undefined
    })
  })

  it('a request that took longer than any client waited for it is refused when it arrives', async () => {
    const { quorum } = context
    const locks = quorum.contender()
    await warm(locks)
    for (const n of [0, 1]) quorum.link(n).hold('requests')
    const { error } = await outcome(locks.acquire(fresh(), { ttlMs: 30_000 }), 5_000)
    expect(error).toMatchObject({ code: 'locks.store_unavailable', outcome: 'unknown' })
    for (const n of [0, 1]) quorum.link(n).heal()
    await until('it can be had', async () => {
      const lease = await locks.tryAcquire(context.key).catch(() => undefined)
      return (await lease?.release()) === 'released'
    })
    expect((await votes()).filter((vote) => vote === 1).length).toBeLessThan(2)
  })

  it('a server that is down from the beginning is not needed, and joins when it comes', async () => {
    const { quorum } = context
    quorum.link(1).cut()
    const locks = quorum.contender()
    const lease = await locks.acquire(fresh(), { ttlMs: 1_000 })
    expect(await votes()).toEqual([1, 0, 1])
    quorum.link(1).heal()
    await until('it votes for the holder', async () => (await votes())[1] === 1)
    quorum.link(0).cut()
    const until1 = lease.validUntil()
    await until('the lease goes on by the other two', () => lease.validUntil() > until1 + 1_000)
    expect(await lease.release()).toBe('released')
  })

  it('closes in time while all are frozen', async () => {
    const { quorum } = context
    const locks = quorum.contender()
    await locks.acquire(fresh())
    quorum.freeze(0, 1, 2)
    const closed = await outcome(locks.close(), 10_000)
    expect(closed.state).toBe('resolved')
    await expectWithin(closed.tookMs, 3_500)
  })

  it('a server that does not identify itself does not vote, and its reason is reported', async () => {
    const { quorum } = context
    const { Redis } = await import('ioredis')
    const { redlockLocks } = await import('concordat/redis')
    for (const n of [0, 1]) {
      const rule = ['SETUSER', 'blind', 'on', '>secret', '~*', '&*', '+@all', '-info'] as const
      await quorum.admin(n, (client) => client.call('ACL', ...rule))
    }
    const clients = [0, 1, 2].map((n) => {
      const credentials = n < 2 ? { username: 'blind', password: 'secret' } : {}
      return new Redis(quorum.urls[n] as string, { ...credentials, lazyConnect: true })
    })
    await using locks = redlockLocks({ clients, restartGraceMs: 0 })
    const error = await locks.tryAcquire(fresh()).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'locks.store_refused', retryable: false })
    expect(String(error)).toContain('NOPERM')
    expect(String(error)).not.toContain('secret')
    for (const n of [0, 1]) await quorum.admin(n, (client) => client.call('ACL', 'SETUSER', 'blind', '+info'))
    expect(await locks.tryAcquire(context.key)).toMatchObject({ state: 'held' })
  })

  it('loses its scripts: they are sent again', async () => {
    const { quorum } = context
    const locks = quorum.contender()
    await warm(locks)
    await quorum.everywhere((client) => client.script('FLUSH'))
    await locks.using(fresh(), {}, (lease) => expect(lease.state).toBe('held'))
  })
})

describeWith(['redis'], 'many contenders for one lock', { private: true }, () => {
  const { context, fresh } = setup(3)

  it('have about as many turns each: the longest waiter goes first, a returning one last', async () => {
    const { quorum } = context
    fresh()
    const turns = [0, 0, 0, 0, 0, 0]
    const sum = (): number => turns.reduce((all, one) => all + one, 0)
    const contenders = turns.map(() => quorum.contender({ pollMs: 2, answerMs: 2_000 }))
    const first = quorum.contender({ answerMs: 2_000 })
    const holder = await first.acquire(context.key)
    const workers = contenders.map(async (locks, n) => {
      while (sum() < 120) {
        await locks.using(context.key, { waitMs: 60_000 }, () => {
          turns[n] = (turns[n] ?? 0) + 1
        })
      }
    })
    await until('all are in line', async () => (await first.inspect(context.key))?.waiters.length === 6)
    await holder.release()
    await Promise.all(workers)
    console.log(`  turns: ${turns.join(' ')}`)
    expect(Math.min(...turns)).toBeGreaterThanOrEqual(14)
    expect(Math.max(...turns)).toBeLessThanOrEqual(27)
  })

  it('are delayed for about a second by one that stopped in the queue, and then no longer', async () => {
    const { quorum } = context
    const [a, stopped, c] = [quorum.contender(), quorum.contender({ clock: new FakeClock() }), quorum.contender()]
    const holder = await a.acquire(fresh(), { ttlMs: 30_000 })
    // Its clock does not move: it takes its place in the queue and never asks again.
    const never = stopped.acquire(context.key, { waitMs: 60_000 }).catch((error: unknown) => error)
    await until('it is in line', async () => (await a.inspect(context.key))?.waiters.length === 1)
    const waiting = c.acquire(context.key, { waitMs: 30_000 })
    await holder.release()
    const { state, tookMs } = await outcome(waiting, 10_000)
    expect(state).toBe('resolved')
    await expectWithin(tookMs, 3_000)
    await stopped.close()
    expect(await never).toMatchObject({ code: 'locks.closed' })
  })

  it('simultaneous claims with one server down have one winner', async () => {
    const { quorum } = context
    quorum.link(1).cut()
    const contenders = Array.from({ length: 5 }, () => quorum.contender())
    await Promise.all(contenders.map((locks) => locks.tryAcquire(randomUUID())))
    for (let round = 0; round < 20; round++) {
      const leases = await Promise.all(contenders.map((locks) => locks.tryAcquire(`${context.key} ${round}`)))
      const won = leases.filter((lease) => lease !== undefined)
      expect(won).toHaveLength(1)
      await won[0]?.release()
    }
  })
})

describeWith(['redis'], 'clocks of servers', { private: true }, () => {
  const lack = serverClockLack()
  // Without a compiler the clock of a server cannot be set; the title then says so.
  describe.skipIf(lack !== undefined)(`that are set${lack === undefined ? '' : ` (${lack})`}`, () => {
    it('a clock that jumps forward gives away nothing but its own vote', async () => {
      using clock = await serverClock()
      const quorum = await Quorum.start(3, (n) => (n === 0 ? { env: clock.env } : {}))
      try {
        const [a, b, key] = [quorum.contender(), quorum.contender(), randomUUID()]
        const lease = await a.acquire(key, { ttlMs: 10_000 })
        clock.shift(60_000)
        await until('its vote is over', async () => {
          return (await quorum.admin(0, (client) => client.exists(`${PREFIX}{${key}}`))) === 0
        })
        expect(await b.tryAcquire(key)).toBeUndefined()
        lease.assertValid()
        expect(await lease.release()).toBe('released')
        expect((await b.acquire(key)).token).toBeGreaterThan(lease.token)
      } finally {
        await quorum.close()
      }
    })

    it('tokens rise though the servers disagree by a minute, because each is written back before it counts', async () => {
      using clock = await serverClock()
      clock.shift(60_000)
      const quorum = await Quorum.start(3, (n) => (n === 0 ? { env: clock.env } : {}))
      const one = async (key: string, without: number): Promise<number> => {
        quorum.link(without).cut()
        // A new contender each time, which has seen no token before.
        const locks = quorum.contender()
        const { token } = await locks.using(key, {}, (lease) => lease)
        await locks.close()
        quorum.link(without).heal()
        return token
      }
      try {
        const key = randomUUID()
        const early = await one(key, 2)
        const late = await one(key, 0)
        expect(late).toBe(early + 1)
        // The same without the token in the only member of the second majority that knows it.
        const [other, fence] = [randomUUID(), 'fence']
        const before = await one(other, 2)
        await quorum.admin(1, (client) => client.del(`${PREFIX}{${other}}:${fence}`))
        expect(await one(other, 0)).toBeLessThan(before)
      } finally {
        await quorum.close()
      }
    })
  })
})

async function uptimeMs(client: { info(section: string): Promise<string> }): Promise<number> {
  return Number(/uptime_in_seconds:(\d+)/.exec(await client.info('server'))?.[1]) * 1_000
}
