import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { expectWithin } from '../support/expect-within.ts'
import { until } from '../support/until.ts'
import type { LocksContext } from './locks-kit.ts'

export function delayCases({ contender, has }: LocksContext): void {
  if (!has('lockDelay')) {
    it('refuses a lock delay, which the store declares missing', async () => {
      await expect(contender().acquire('k', { lockDelayMs: 5 })).rejects.toMatchObject({ code: 'locks.unsupported' })
    })
    return
  }
  const modes = has('shared') ? (['exclusive', 'shared'] as const) : (['exclusive'] as const)

  describe.for(modes)('a lock delay (%s)', (mode) => {
    it('keeps others out after the lease has ended without a release', async () => {
      const [a, b, key] = [contender(), contender(), randomUUID()]
      const begun = performance.now()
      const lost = await a.acquire(key, { mode, ttlMs: 500, lockDelayMs: 2_000, maxHoldMs: 0 })
      const waiting = b.acquire(key)
      await until('it is lost', () => lost.state === 'lost')
      await expectWithin(performance.now() - begun, 1_800)
      await until('its lease is over for the store', async () => {
        const holder = (await b.inspect(key))?.holders[0]
        return holder?.expiresInMs === 0 && holder.freesInMs > 0
      })
      expect(await b.tryAcquire(key)).toBeUndefined()
      await waiting
      expect(performance.now() - begun).toBeGreaterThanOrEqual(2_490)
    })

    it('does not lengthen the lease itself', async () => {
      const [locks, key] = [contender(), randomUUID()]
      const lease = await locks.acquire(key, { mode, ttlMs: 1_000, lockDelayMs: 60_000 })
      expect(lease.remainingMs()).toBeLessThan(1_000)
      const [holder] = (await locks.inspect(key))?.holders ?? []
      expect(holder?.expiresInMs).toBeLessThanOrEqual(1_000)
      expect(holder?.freesInMs).toBeGreaterThan(60_000)
      await lease.release()
    })

    it('ends with a release, also after renewals', async () => {
      const [a, b, key] = [contender(), contender(), randomUUID()]
      const lease = await a.acquire(key, { mode, ttlMs: 2_000, lockDelayMs: 60_000 })
      const first = lease.validUntil()
      await until('it is renewed', () => lease.validUntil() > first + 100)
      expect(await lease.release()).toBe('released')
      await (await b.acquire(key, { waitMs: 0 })).release()
    })

    it('runs after close(), for the work may go on', async () => {
      const [a, b, key] = [contender(), contender(), randomUUID()]
      await a.acquire(key, { mode, ttlMs: 1_000, lockDelayMs: 1_000 })
      await a.close()
      expect(await b.tryAcquire(key)).toBeUndefined()
      await (await b.acquire(key)).release()
    })

    if (has('operator')) {
      it('is ended by a forced release', async () => {
        const [a, b, key] = [contender(), contender(), randomUUID()]
        const lost = await a.acquire(key, { mode, ttlMs: 1_000, lockDelayMs: 60_000, maxHoldMs: 0 })
        await until('it is lost', () => lost.state === 'lost')
        expect((await b.forceRelease(key, { by: 'ada', reason: 'dead for sure' })).ended).toHaveLength(1)
        await (await b.acquire(key, { waitMs: 0 })).release()
      })
    }
  })
}
