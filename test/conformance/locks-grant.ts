import { randomUUID } from 'node:crypto'
import { hasCode } from 'concordat/core'
import { describe, expect, it } from 'vitest'
import { expectWithin } from '../support/expect-within.ts'
import { FakeClock } from '../support/locks/fake-clock.ts'
import { until } from '../support/until.ts'
import type { LocksContext } from './locks-kit.ts'

export function grantCases({ contender }: LocksContext): void {
  describe('granting', () => {
    it('gives a lock to one contender at a time', async () => {
      const [a, b, key] = [contender(), contender(), randomUUID()]
      const lease = await a.tryAcquire(key)
      expect(lease?.state).toBe('held')
      expect(await b.tryAcquire(key)).toBeUndefined()
      expect(await a.tryAcquire(key)).toBeUndefined()
      expect(await lease?.release()).toBe('released')
      expect(await b.tryAcquire(key)).toMatchObject({ key, state: 'held' })
    })

    it('keeps keys apart, whatever is in them', async () => {
      const locks = contender()
      const keys = ['a', 'a b', 'ü{x}:line', '{', ':fence', `long-${'k'.repeat(500)}`].map((key) => key + randomUUID())
      keys.push('__proto__', 'constructor')
      const leases = await Promise.all(keys.map((key) => locks.tryAcquire(key)))
      expect(leases.map((lease) => lease?.key)).toEqual(keys)
      expect(await Promise.all(keys.map((key) => locks.tryAcquire(key)))).toEqual(keys.map(() => undefined))
      for (const lease of leases) await lease?.release()
    })

    it('hands out strictly rising tokens, also to other contenders and other keys', async () => {
      const [a, b, key] = [contender(), contender(), randomUUID()]
      let last = 0
      for (const locks of [a, b, b, a, b, a, a]) {
        const lease = await locks.acquire(key)
        expect(lease.token).toBeGreaterThan(last)
        expect(Number.isSafeInteger(lease.token)).toBe(true)
        last = lease.token
        await lease.release()
      }
    })

    it('grants a token above the one that is asked for', async () => {
      const locks = contender()
      const tokenAbove = (Date.now() + 3_600_000) * 1_000
      const key = randomUUID()
      await locks.using(key, { tokenAbove }, (lease) => expect(lease.token).toBeGreaterThan(tokenAbove))
      await contender().using(key, {}, (lease) => expect(lease.token).toBeGreaterThan(tokenAbove + 1))
    })

    it('renews a lease under the same token until it is released', async () => {
      const [a, b, key] = [contender(), contender(), randomUUID()]
      const lease = await a.acquire(key, { ttlMs: 1_000 })
      const { token } = lease
      const first = lease.validUntil()
      await until('the lease is twice as old as its ttl', () => lease.validUntil() > first + 2_000)
      expect(lease.state).toBe('held')
      expect(lease.token).toBe(token)
      expect(await b.tryAcquire(key)).toBeUndefined()
      expect((await b.inspect(key))?.holders).toMatchObject([{ token }])
    })

    it('frees the lock of a holder that does not renew, not before its time and not much after', async () => {
      const [a, b, key] = [contender(), contender(), randomUUID()]
      const begun = performance.now()
      const lost = await a.acquire(key, { ttlMs: 300, maxHoldMs: 0 })
      const lease = await b.acquire(key)
      const tookMs = performance.now() - begun
      expect(lost.remainingMs()).toBeLessThanOrEqual(0)
      expect(tookMs).toBeGreaterThanOrEqual(290)
      await expectWithin(tookMs, 5_000)
      expect(lease.token).toBeGreaterThan(lost.token)
    })

    it('does not let a holder whose clock stands still renew or free the lock of its successor', async () => {
      const clock = new FakeClock()
      const [a, b, key] = [contender({ clock }), contender(), randomUUID()]
      const believer = await a.acquire(key, { ttlMs: 150 })
      const lease = await b.acquire(key)
      believer.assertValid()
      expect(await believer.release()).toBe('lost')
      expect(await b.tryAcquire(key)).toBeUndefined()
      const second = await a.tryAcquire(`${key} 2`, { ttlMs: 150 })
      const successor = await b.acquire(`${key} 2`)
      await clock.advance(60)
      await until('the renewal is refused', () => second?.state === 'lost')
      expect(second?.signal.reason).toMatchObject({ reason: 'displaced' })
      lease.assertValid()
      successor.assertValid()
    })

    it('says who holds a lock and who was found in the way', async () => {
      const [a, b, key] = [contender({ owner: 'a/1 ü' }), contender(), randomUUID()]
      expect(await b.inspect(key)).toBeUndefined()
      const lease = await a.acquire(key, { ttlMs: 5_000 })
      const info = await b.inspect(key)
      expect(info).toMatchObject({ key, holders: [{ owner: 'a/1 ü', token: lease.token }], waiters: [] })
      const holder = info?.holders[0]
      expect(holder?.expiresInMs).toBeGreaterThan(4_000)
      expect(holder?.expiresInMs).toBeLessThanOrEqual(5_000)
      const error = await b.acquire(key, { waitMs: 0 }).catch((caught: unknown) => caught)
      expect(error).toMatchObject({ code: 'locks.busy', key, owner: 'a/1 ü', retryable: true })
      await using other = await b.acquire(randomUUID(), { owner: 'job 7' })
      expect(await a.inspect(other.key)).toMatchObject({ holders: [{ owner: 'job 7' }] })
    })

    it('names the option that is wrong', async () => {
      const locks = contender()
      await expect(locks.acquire('')).rejects.toThrow(TypeError)
      await expect(locks.acquire('}k')).rejects.toThrow('does not begin with "}"')
      await expect(locks.acquire('k', { ttlMs: 50 })).rejects.toThrow('lock("k").ttlMs: expected a whole number >= 100')
      await expect(locks.acquire('k', { waitMs: -1 })).rejects.toThrow('lock("k").waitMs')
      await expect(locks.tryAcquire('k', { maxHoldMs: 0.5 })).rejects.toThrow('lock("k").maxHoldMs')
      await expect(locks.tryAcquire('k', { owner: '' })).rejects.toThrow('lock("k").owner')
      const notASignal = 'now' as unknown as AbortSignal
      await expect(locks.acquire('k', { signal: notASignal })).rejects.toThrow(
        'lock("k").signal: expected an AbortSignal',
      )
      // Two keys that are one in the store, and would wait for each other.
      await expect(locks.acquireAll(['\ud800', '\ud801'], { waitMs: 0 })).rejects.toThrow('well-formed text')
    })

    it('does not take the lock when there is no work to do under it', async () => {
      const locks = contender()
      const key = randomUUID()
      const notWork = {} as unknown as () => void
      await expect(locks.using(key, {}, notWork)).rejects.toThrow(`using("${key}") work: expected a function`)
      await expect(locks.usingAll([key], {}, notWork)).rejects.toThrow('usingAll work: expected a function')
      expect(locks.health()).toMatchObject({ held: 0 })
    })

    it('never lets two sections overlap, and a fenced sink sees rising tokens only', async () => {
      const key = randomUUID()
      const contenders = Array.from({ length: 4 }, () => contender())
      const sink: number[] = []
      let inside = 0
      const worker = async (index: number): Promise<void> => {
        for (let round = 0; round < 15; round++) {
          await contenders[index % contenders.length]?.using(key, { waitMs: 60_000 }, async (lease) => {
            expect(++inside).toBe(1)
            if (round % 3 === 0) await new Promise((resolve) => setImmediate(resolve))
            lease.assertValid()
            sink.push(lease.token)
            inside -= 1
          })
        }
      }
      await Promise.all(Array.from({ length: 12 }, (_, index) => worker(index)))
      expect(sink).toHaveLength(180)
      expect(sink.every((token, index) => index === 0 || token > (sink[index - 1] ?? 0))).toBe(true)
    })

    it('lets some tries win and some lose when all come at once, never two', async () => {
      const key = randomUUID()
      const [a, b, c] = [contender(), contender(), contender()]
      for (let round = 0; round < 10; round++) {
        const tries = await Promise.all([a, b, c, a, b, c].map((locks) => locks.tryAcquire(key)))
        const won = tries.filter((lease) => lease !== undefined)
        expect(won).toHaveLength(1)
        await won[0]?.release()
      }
    })

    it('rejects with the reason of a signal that has aborted, and asks nothing of the store', async () => {
      const [locks, key, reason] = [contender(), randomUUID(), new Error('not any more')]
      const signal = AbortSignal.abort(reason)
      await expect(locks.tryAcquire(key, { signal })).rejects.toBe(reason)
      await expect(locks.acquire(key, { signal })).rejects.toBe(reason)
      const late = await locks.tryAcquire(key).catch((error: unknown) => hasCode(error, 'locks.busy'))
      expect(late).toMatchObject({ state: 'held' })
    })
  })
}
