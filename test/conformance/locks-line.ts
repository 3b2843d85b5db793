import { randomUUID } from 'node:crypto'
import type { Lease } from 'concordat/locks'
import { describe, expect, it } from 'vitest'
import { expectWithin } from '../support/expect-within.ts'
import { gate, until } from '../support/until.ts'
import { inLine, type LocksContext } from './locks-kit.ts'

export function lineCases({ contender, has }: LocksContext): void {
  describe('waiting', () => {
    // A store without this feature declares so, and its own tests check that: then there is nothing to skip.
    const inOrder = has('fifo') ? it : undefined

    inOrder?.('serves waiters of all contenders in the order of their arrival', async () => {
      const key = randomUUID()
      const contenders = [contender(), contender(), contender()] as const
      const holder = await contenders[0].acquire(key)
      const served: number[] = []
      const waiters: Promise<void>[] = []
      for (let n = 0; n < 9; n++) {
        const locks = contenders[(n % 3) as 0 | 1 | 2]
        waiters.push(locks.using(key, {}, () => void served.push(n)))
        await inLine(contenders[0], key, n + 1)
      }
      await holder.release()
      await Promise.all(waiters)
      expect(served).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8])
    })

    inOrder?.('does not let a try overtake a waiter', async () => {
      const [a, b, c, key] = [contender(), contender(), contender(), randomUUID()]
      const holder = await a.acquire(key)
      const waiting = b.acquire(key)
      await inLine(a, key, 1)
      const [, overtaking] = await Promise.all([holder.release(), a.tryAcquire(key), c.tryAcquire(key)])
      expect(overtaking).toBeUndefined()
      const lease = await waiting
      expect(await c.tryAcquire(key)).toBeUndefined()
      await lease.release()
    })

    it('hands over at once, long before the holder would have expired or a heartbeat is due', async () => {
      const [a, b, key] = [contender(), contender({ heartbeatMs: 20_000 }), randomUUID()]
      const holder = await a.acquire(key, { ttlMs: 30_000 })
      const waiting = b.acquire(key)
      await inLine(a, key, 1)
      const begun = performance.now()
      await holder.release()
      await waiting
      await expectWithin(performance.now() - begun, 8_000)
    })

    it('rejects with locks.timeout after waitMs, and the waiter is out of the line', async () => {
      const [a, b, key] = [contender({ owner: 'a' }), contender(), randomUUID()]
      await a.acquire(key)
      const begun = performance.now()
      const error = await b.acquire(key, { waitMs: 400 }).catch((caught: unknown) => caught)
      expect(error).toMatchObject({ code: 'locks.timeout', key, waitMs: 400, owner: 'a', position: 0, retryable: true })
      expect(performance.now() - begun).toBeGreaterThanOrEqual(395)
      await inLine(a, key, 0)
      expect(b.health().waiting).toBe(0)
    })

    it('rejects with the reason of its signal at once, and the waiter is out of the line', async () => {
      const [a, b, key] = [contender(), contender(), randomUUID()]
      await a.acquire(key)
      const giveUp = new AbortController()
      const waiting = b.acquire(key, {
        ttlMs: 2_000,
        signal: giveUp.signal,
        waitMs: Number.POSITIVE_INFINITY,
      })
      await inLine(a, key, 1)
      giveUp.abort(new Error('changed my mind'))
      await expect(waiting).rejects.toThrow('changed my mind')
      await inLine(a, key, 0)
    })

    it('passes the turn on when the one whose turn it is gives up in that moment', async () => {
      const [a, b, c] = [contender(), contender(), contender({ heartbeatMs: 20_000 })]
      for (let round = 0; round < 20; round++) {
        const key = randomUUID()
        const holder = await a.acquire(key, { ttlMs: 30_000 })
        const giveUp = new AbortController()
        const first = b.acquire(key, { signal: giveUp.signal }).catch(() => undefined)
        await inLine(a, key, 1)
        const second = c.acquire(key)
        await inLine(a, key, 2)
        const released = holder.release()
        for (let turn = 0; turn < round % 5; turn++) await new Promise((resolve) => setImmediate(resolve))
        giveUp.abort(new Error('gave up'))
        await released
        await ((await first) as Lease | undefined)?.release()
        await (await second).release()
      }
    })

    it('serves the rest of the line when waiters all over it give up', async () => {
      const [a, b, c, key] = [contender(), contender(), contender(), randomUUID()]
      const holder = await a.acquire(key)
      const giveUps = Array.from({ length: 20 }, () => new AbortController())
      const served: number[] = []
      const waiters = giveUps.map(async ({ signal }, n) => {
        const options = { signal, waitMs: 30_000 }
        const waiting = [a, b, c][n % 3]?.using(key, options, async () => {
          served.push(n)
          giveUps[n + 3]?.abort(new Error('gave up'))
          await new Promise((resolve) => setImmediate(resolve))
        })
        await waiting?.catch((error: unknown) => expect(error).toMatchObject({ message: 'gave up' }))
      })
      await inLine(a, key, 20)
      giveUps[0]?.abort(new Error('gave up'))
      giveUps[11]?.abort(new Error('gave up'))
      await holder.release()
      await Promise.all(waiters)
      expect(served).not.toContain(0)
      expect(served).not.toContain(11)
      expect(served.length).toBeGreaterThanOrEqual(8)
      expect(a.health().waiting + b.health().waiting + c.health().waiting).toBe(0)
    })

    it('forgets a waiter whose contender is gone', async () => {
      const [a, b, c, key] = [contender(), contender(), contender({ heartbeatMs: 20_000 }), randomUUID()]
      const holder = await a.acquire(key)
      const gone = b.acquire(key).catch((error: unknown) => error)
      await inLine(a, key, 1)
      const waiting = c.acquire(key)
      await inLine(a, key, 2)
      await b.close()
      expect(await gone).toMatchObject({ code: 'locks.closed' })
      await holder.release()
      await (await waiting).release()
    })

    it('waits for a lock that expires and takes it when it does', async () => {
      const [a, key] = [contender(), randomUUID()]
      const contenders = [contender(), contender(), contender()]
      const served = gate()
      const lost = await a.acquire(key, { ttlMs: 400, maxHoldMs: 0 })
      const tokens: number[] = []
      const waiters = contenders.map((locks) =>
        locks.using(key, {}, async (lease) => {
          tokens.push(lease.token)
          served.open()
          await served.opened
        }),
      )
      const waiting = async (): Promise<number> => (await a.inspect(key))?.waiters.length ?? 0
      // On a busy machine the lease may end before the last one has its place in the line.
      await until('all wait, or one is served', async () => tokens.length > 0 || (await waiting()) === 3)
      await Promise.all(waiters)
      expect(tokens).toHaveLength(3)
      expect(Math.min(...tokens)).toBeGreaterThan(lost.token)
    })
  })
}
