import { randomUUID } from 'node:crypto'
import { systemClock } from 'concordat/core'
import { describe, expect, it } from 'vitest'
import { expectWithin } from '../support/expect-within.ts'
import { until } from '../support/until.ts'
import type { LocksContext } from './locks-kit.ts'

export function setCases({ contender, has }: LocksContext): void {
  describe('several keys', () => {
    it('are acquired together, in byte order, and given back together', async () => {
      const [a, b, id] = [contender(), contender(), randomUUID()]
      const keys = [`${id} b`, `${id} ü`, `${id} B`, `${id} a`]
      const set = await a.acquireAll(keys)
      expect(set.leases.map((lease) => lease.key)).toEqual([`${id} B`, `${id} a`, `${id} b`, `${id} ü`])
      expect(set.get(`${id} b`)).toMatchObject({ key: `${id} b`, state: 'held' })
      expect(() => set.get('other')).toThrow(TypeError)
      set.assertValid(1_000)
      const atMost = Math.min(...set.leases.map((lease) => lease.remainingMs()))
      expect(set.remainingMs()).toBeLessThanOrEqual(atMost)
      for (const key of keys) expect(await b.tryAcquire(key)).toBeUndefined()
      expect(await set.release()).toBe('released')
      expect(await set.release()).toBe('released')
      expect(() => set.assertValid()).toThrow(expect.objectContaining({ reason: 'released' }))
      expect((await b.acquireAll(keys)).leases).toHaveLength(4)
    })

    it('are all or none: when one cannot be had, the others are free again', async () => {
      const [a, b, id] = [contender(), contender(), randomUUID()]
      const [first, second] = [`${id} 1`, `${id} 2`] as const
      await a.acquire(second)
      const begun = performance.now()
      const error = await b.acquireAll([first, second], { waitMs: 100 }).catch((caught: unknown) => caught)
      expect(error).toMatchObject({ code: 'locks.timeout', key: second })
      await expectWithin(performance.now() - begun, 5_000)
      expect(await a.tryAcquire(first)).toMatchObject({ state: 'held' })
      await expect(b.acquireAll([second, first], { waitMs: 0 })).rejects.toMatchObject({ code: 'locks.busy' })
    })

    it('share one deadline', async () => {
      // A lock with its own clock is not refused: if asked again, it would get a new deadline.
      const [a, b, id] = [contender(), contender({ clock: systemClock }), randomUUID()]
      const held = await a.acquire(`${id} 1`)
      await a.acquire(`${id} 2`)
      const begun = performance.now()
      const waiting = b.acquireAll([`${id} 1`, `${id} 2`], { waitMs: 3_000 }).catch((caught: unknown) => caught)
      await until('most of it is over', () => performance.now() - begun > 2_000)
      await held.release()
      expect(await waiting).toMatchObject({ code: 'locks.timeout', key: `${id} 2`, waitMs: 3_000 })
      // A deadline for each would end at 5 000.
      await expectWithin(performance.now() - begun, 4_800)
    })

    it('are kept while the rest is waited for', async () => {
      const [a, b, id] = [contender(), contender(), randomUUID()]
      const held = await a.acquire(`${id} 2`)
      const begun = performance.now()
      const waiting = b.acquireAll([`${id} 1`, `${id} 2`], { ttlMs: 500 })
      waiting.catch(() => {})
      await until('three times the ttl is over', () => performance.now() - begun > 1_500)
      expect(await a.tryAcquire(`${id} 1`)).toBeUndefined()
      await held.release()
      const set = await waiting
      set.assertValid()
      await set.release()
    })

    it('are not waited for any longer when one is lost meanwhile', async () => {
      const [a, b, id] = [contender(), contender(), randomUUID()]
      await a.acquire(`${id} 2`)
      const begun = performance.now()
      const waiting = b.acquireAll([`${id} 1`, `${id} 2`], { ttlMs: 300, maxHoldMs: 100, waitMs: 30_000 })
      await expect(waiting).rejects.toMatchObject({ code: 'locks.lost', reason: 'max_hold', key: `${id} 1` })
      await expectWithin(performance.now() - begun, 5_000)
    })

    it('never wait for each other, whatever the orders', async () => {
      const [a, b, c, id] = [contender(), contender(), contender(), randomUUID()]
      const keys = [`${id} 1`, `${id} 2`, `${id} 3`]
      const orders = [keys, keys.toReversed(), [keys[1], keys[2], keys[0]] as string[]]
      let inside = 0
      const worker = async (index: number): Promise<void> => {
        for (let round = 0; round < 8; round++) {
          const order = orders[(index + round) % orders.length] as string[]
          await [a, b, c][index % 3]?.usingAll(order, { waitMs: 60_000 }, async (set) => {
            expect(++inside).toBe(1)
            await new Promise((resolve) => setImmediate(resolve))
            set.assertValid()
            inside -= 1
          })
        }
      }
      await Promise.all(Array.from({ length: 6 }, (_, index) => worker(index)))
    })

    it('abort their signal with the first loss, and usingAll says so', async () => {
      const [locks, id] = [contender(), randomUUID()]
      const using = locks.usingAll([`${id} 1`, `${id} 2`], { ttlMs: 500, maxHoldMs: 0 }, async (set) => {
        await new Promise((resolve) => set.signal.addEventListener('abort', resolve))
        expect(set.signal.reason).toMatchObject({ code: 'locks.lost' })
        expect(() => set.assertValid()).toThrow(expect.objectContaining({ code: 'locks.lost' }))
      })
      await expect(using).rejects.toMatchObject({ code: 'locks.lost', reason: 'max_hold' })
    })

    it('hand on what the work returns or throws, and are free then', async () => {
      const [a, b, id] = [contender(), contender(), randomUUID()]
      const keys = [`${id} 1`, `${id} 2`]
      expect(await a.usingAll(keys, {}, (set) => set.leases.length)).toBe(2)
      const mine = new Error('mine')
      const failing = a.usingAll(keys, {}, () => {
        throw mine
      })
      await expect(failing).rejects.toBe(mine)
      await (await b.acquireAll(keys, { waitMs: 0 })).release()
    })

    it('refuse to wait for themselves', async () => {
      const [locks, id] = [contender(), randomUUID()]
      await locks.usingAll([`${id} 1`, `${id} 2`], {}, async () => {
        await expect(locks.acquire(`${id} 2`)).rejects.toMatchObject({ code: 'locks.reentered', key: `${id} 2` })
        const again = locks.acquireAll([`${id} 0`, `${id} 1`])
        await expect(again).rejects.toMatchObject({ code: 'locks.reentered', key: `${id} 1` })
        expect(await locks.tryAcquire(`${id} 0`)).toMatchObject({ state: 'held' })
      })
    })

    it('are refused when there is none, or one twice', async () => {
      const locks = contender()
      await expect(locks.acquireAll([])).rejects.toThrow('at least one key')
      await expect(locks.acquireAll(['a', 'b', 'a'])).rejects.toThrow('got "a" twice')
      await expect(locks.usingAll(['a', ''], {}, () => 1)).rejects.toThrow(TypeError)
      await expect(locks.acquireAll('ab' as unknown as string[])).rejects.toThrow(TypeError)
    })

    it('give back what they have when their signal aborts', async () => {
      const [a, b, id] = [contender(), contender(), randomUUID()]
      await a.acquire(`${id} 2`)
      const giveUp = new AbortController()
      const waiting = b.acquireAll([`${id} 1`, `${id} 2`], { signal: giveUp.signal }).catch((error: unknown) => error)
      await until('it has the first', async () => (await a.inspect(`${id} 1`)) !== undefined)
      giveUp.abort(new Error('enough'))
      expect(await waiting).toMatchObject({ message: 'enough' })
      expect(await a.tryAcquire(`${id} 1`)).toMatchObject({ state: 'held' })
    })

    if (has('shared')) {
      it('are shared like single ones', async () => {
        const [a, b, id] = [contender(), contender(), randomUUID()]
        const keys = [`${id} 1`, `${id} 2`]
        const readers = [await a.acquireAll(keys, { mode: 'shared' }), await b.acquireAll(keys, { mode: 'shared' })]
        await expect(b.acquireAll(keys, { waitMs: 0 })).rejects.toMatchObject({ code: 'locks.busy' })
        for (const set of readers) await set.release()
        await (await b.acquireAll(keys, { waitMs: 0 })).release()
      })
    }
  })
}
