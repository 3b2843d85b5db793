import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { until } from '../support/until.ts'
import type { LocksContext } from './locks-kit.ts'

export function lifeCases({ contender }: LocksContext): void {
  describe('using', () => {
    it('returns what the work returns, and the lock is free then', async () => {
      const [a, b, key] = [contender(), contender(), randomUUID()]
      expect(await a.using(key, {}, async (lease) => `${lease.state} ${lease.key === key}`)).toBe('held true')
      expect(await b.tryAcquire(key)).toMatchObject({ state: 'held' })
    })

    it('hands on the error of the work unchanged, and the lock is free then', async () => {
      const [a, b, key, error] = [contender(), contender(), randomUUID(), new Error('mine')]
      await expect(
        a.using(key, {}, () => {
          throw error
        }),
      ).rejects.toBe(error)
      expect(await b.tryAcquire(key)).toMatchObject({ state: 'held' })
    })

    it('hands on the error of the work also when the lock was lost', async () => {
      const [locks, key, error] = [contender(), randomUUID(), new Error('mine')]
      await expect(
        locks.using(key, { ttlMs: 500, maxHoldMs: 0 }, async (lease) => {
          await until('the lease is lost', () => lease.state === 'lost')
          throw error
        }),
      ).rejects.toBe(error)
    })

    it('rejects with locks.lost when the work succeeded after its lease had ended', async () => {
      const [locks, key] = [contender(), randomUUID()]
      const running = locks.using(key, { ttlMs: 500, maxHoldMs: 0 }, async (lease) => {
        await new Promise((resolve) => lease.signal.addEventListener('abort', resolve))
        return 'too late'
      })
      await expect(running).rejects.toMatchObject({ code: 'locks.lost', reason: 'max_hold', key })
    })

    it('never calls the work without the lock', async () => {
      const [a, b, key] = [contender(), contender(), randomUUID()]
      await a.acquire(key)
      let called = false
      const work = (): void => {
        called = true
      }
      await expect(b.using(key, { waitMs: 0 }, work)).rejects.toMatchObject({ code: 'locks.busy' })
      await expect(b.using(key, { waitMs: 30 }, work)).rejects.toMatchObject({ code: 'locks.timeout' })
      await expect(b.using(key, { signal: AbortSignal.timeout(30) }, work)).rejects.toThrow()
      expect(called).toBe(false)
    })

    it('refuses to wait for itself', async () => {
      const [locks, key] = [contender(), randomUUID()]
      await locks.using(key, {}, async (lease) => {
        await expect(locks.acquire(key)).rejects.toMatchObject({ code: 'locks.reentered', key })
        await locks.using(`${key} inner`, {}, async () => {
          await expect(locks.using(key, {}, () => {})).rejects.toMatchObject({ code: 'locks.reentered' })
        })
        expect(await locks.tryAcquire(key)).toBeUndefined()
        await lease.release()
        await (await locks.acquire(key)).release()
      })
      await (await locks.acquire(key)).release()
    })
  })

  describe('a lease', () => {
    it('is disposed of by `await using`', async () => {
      const [a, b, key] = [contender(), contender(), randomUUID()]
      {
        await using lease = await a.acquire(key)
        lease.assertValid(1_000)
      }
      expect(await b.tryAcquire(key)).toMatchObject({ state: 'held' })
    })

    it('aborts its signal when it is lost, and not when it is released', async () => {
      const [locks, key] = [contender(), randomUUID()]
      const released = await locks.acquire(key)
      const { signal } = released
      await released.release()
      const lost = await locks.acquire(key, { ttlMs: 500, maxHoldMs: 0 })
      await new Promise((resolve) => lost.signal.addEventListener('abort', resolve))
      expect(lost.signal.reason).toMatchObject({ code: 'locks.lost', token: lost.token })
      expect(signal.aborted).toBe(false)
    })
  })

  describe('closing', () => {
    it('turns waiters away, ends the leases and frees their locks', async () => {
      const [a, b, key, other] = [contender(), contender(), randomUUID(), randomUUID()]
      const held = await a.acquire(key)
      await b.acquire(other)
      const waiting = a.acquire(other).catch((error: unknown) => error)
      await until('it waits', async () => (await b.inspect(other))?.waiters.length === 1)
      await a.close()
      expect(await waiting).toMatchObject({ code: 'locks.closed', retryable: false })
      expect(() => held.assertValid()).toThrow(expect.objectContaining({ code: 'locks.lost', reason: 'closed' }))
      expect(await b.tryAcquire(key)).toMatchObject({ state: 'held' })
      expect((await b.inspect(other))?.waiters).toEqual([])
    })

    it('is idempotent and final', async () => {
      const locks = contender()
      await Promise.all([locks.close(), locks.close()])
      expect(locks.health()).toEqual({ status: 'closed', held: 0, waiting: 0 })
      await expect(locks.tryAcquire('k')).rejects.toMatchObject({ code: 'locks.closed' })
      await expect(locks.acquire('k')).rejects.toMatchObject({ code: 'locks.closed' })
      await expect(locks.inspect('k')).rejects.toMatchObject({ code: 'locks.closed' })
    })

    it('counts what is held and who waits', async () => {
      const [a, b, key] = [contender(), contender(), randomUUID()]
      const lease = await a.acquire(key)
      expect(a.health()).toMatchObject({ status: 'up', held: 1, waiting: 0 })
      const waiting = b.acquire(key)
      await until('it waits', () => b.health().waiting === 1)
      await lease.release()
      await (await waiting).release()
      expect(a.health()).toMatchObject({ held: 0, waiting: 0 })
      expect(b.health()).toMatchObject({ held: 0, waiting: 0 })
    })
  })
}
