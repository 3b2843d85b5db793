import { randomUUID } from 'node:crypto'
import type { Lease } from 'concordat/locks'
import { describe, expect, it } from 'vitest'
import { expectWithin } from '../support/expect-within.ts'
import { gate, until } from '../support/until.ts'
import { inLine, type LocksContext } from './locks-kit.ts'

const SHARED = { mode: 'shared' } as const

export function sharedCases(context: LocksContext): void {
  if (!context.has('shared')) {
    it('refuses shared mode and permits, which the store declares missing', async () => {
      const locks = context.contender()
      await expect(locks.acquire('k', SHARED)).rejects.toMatchObject({ code: 'locks.unsupported' })
      await expect(locks.tryAcquire('k', { permits: 2 })).rejects.toMatchObject({ code: 'locks.unsupported' })
    })
    return
  }
  readWriteCases(context)
  permitCases(context)
}

function readWriteCases({ contender }: LocksContext): void {
  describe('readers and writers', () => {
    it('lets readers in together, and a writer only alone', async () => {
      const [a, b, key] = [contender(), contender(), randomUUID()]
      const readers = [await a.tryAcquire(key, SHARED), await b.tryAcquire(key, SHARED), await a.acquire(key, SHARED)]
      expect(readers.map((lease) => lease?.state)).toEqual(['held', 'held', 'held'])
      expect(await b.tryAcquire(key)).toBeUndefined()
      for (const reader of readers) {
        expect(await b.tryAcquire(key)).toBeUndefined()
        expect(await reader?.release()).toBe('released')
      }
      const writer = await b.tryAcquire(key)
      expect(writer?.state).toBe('held')
      expect(await a.tryAcquire(key, SHARED)).toBeUndefined()
      await writer?.release()
      expect(await a.tryAcquire(key, SHARED)).toMatchObject({ state: 'held' })
    })

    it('hands out strictly rising tokens over all modes', async () => {
      const [a, b, key] = [contender(), contender(), randomUUID()]
      const first = await a.acquire(key, SHARED)
      const second = await b.acquire(key, { permits: 9 })
      const third = await a.acquire(key, SHARED)
      for (const lease of [second, first, third]) await lease.release()
      const fourth = await b.acquire(key)
      const tokens = [first, second, third, fourth].map((lease) => lease.token)
      expect(tokens).toEqual([...new Set(tokens)].toSorted((x, y) => x - y))
    })

    it('serves in the order of arrival: readers side by side get in together, no reader passes a writer', async () => {
      const [a, b, key] = [contender({ heartbeatMs: 20_000 }), contender({ heartbeatMs: 20_000 }), randomUUID()]
      const holder = await a.acquire(key)
      const events: string[] = []
      const leases = new Map<string, Lease>()
      const waiters: Promise<void>[] = []
      for (const [n, name] of ['r1', 'r2', 'w1', 'r3', 'r4', 'w2'].entries()) {
        const options = name.startsWith('r') ? SHARED : {}
        const waiting = (n % 2 === 0 ? a : b).acquire(key, options)
        waiters.push(
          waiting.then((lease) => {
            events.push(name)
            leases.set(name, lease)
          }),
        )
        await inLine(a, key, n + 1)
      }
      const release = async (...names: string[]): Promise<void> => {
        for (const name of names) await leases.get(name)?.release()
      }
      const inside = (...names: string[]): Promise<void> =>
        until(names.join(' '), () => events.toSorted().join() === names.toSorted().join())
      await holder.release()
      await inside('r1', 'r2')
      expect(await a.tryAcquire(key, SHARED)).toBeUndefined()
      await release('r1')
      expect(events).toHaveLength(2)
      await release('r2')
      await inside('r1', 'r2', 'w1')
      await release('w1')
      await inside('r1', 'r2', 'w1', 'r3', 'r4')
      await release('r3', 'r4')
      await Promise.all(waiters)
      // Readers that are admitted together may learn it in any order; their tokens show the order of the grants.
      const tokens = ['r1', 'r2', 'w1', 'r3', 'r4', 'w2'].map((name) => leases.get(name)?.token as number)
      expect(tokens).toEqual(tokens.toSorted((one, other) => one - other))
      expect([events[2], events[5]]).toEqual(['w1', 'w2'])
      await release('w2')
    })

    it('lets the readers behind a writer in when it gives up', async () => {
      const [a, b, key] = [contender(), contender({ heartbeatMs: 20_000 }), randomUUID()]
      const reading = await a.acquire(key, SHARED)
      const giveUp = new AbortController()
      const writer = b.acquire(key, { signal: giveUp.signal }).catch((error: unknown) => error)
      await inLine(a, key, 1)
      const readers = [b.acquire(key, SHARED), b.acquire(key, SHARED)]
      await inLine(a, key, 3)
      const begun = performance.now()
      giveUp.abort(new Error('gave up'))
      expect(await writer).toMatchObject({ message: 'gave up' })
      await Promise.all(readers)
      await expectWithin(performance.now() - begun, 8_000)
      reading.assertValid()
    })

    it('lets the readers behind a writer in when its contender is gone', async () => {
      const [a, b, c, key] = [contender(), contender(), contender(), randomUUID()]
      await a.acquire(key, SHARED)
      const writer = b.acquire(key).catch((error: unknown) => error)
      await inLine(a, key, 1)
      const readers = [c.acquire(key, SHARED), c.acquire(key, SHARED)]
      await inLine(a, key, 3)
      await b.close()
      expect(await writer).toMatchObject({ code: 'locks.closed' })
      await Promise.all(readers)
    })

    it('gives the lock to a waiting writer when the last reader expires, not before', async () => {
      const [a, b, key] = [contender(), contender(), randomUUID()]
      const begun = performance.now()
      const short = await a.acquire(key, { ...SHARED, ttlMs: 500, maxHoldMs: 0 })
      const long = await a.acquire(key, { ...SHARED, ttlMs: 1_000, maxHoldMs: 0 })
      const writer = await b.acquire(key)
      const tookMs = performance.now() - begun
      expect(tookMs).toBeGreaterThanOrEqual(990)
      await expectWithin(tookMs, 5_000)
      expect([short.state, long.state]).toEqual(['lost', 'lost'])
      expect(await short.release()).toBe('lost')
      writer.assertValid()
      expect(await b.tryAcquire(key, SHARED)).toBeUndefined()
    })

    it('renews each reader by itself, and the end of one is not the end of the others', async () => {
      const [a, b, key] = [contender(), contender(), randomUUID()]
      const renewed = await a.acquire(key, { ...SHARED, ttlMs: 1_500 })
      const ended = await b.acquire(key, { ...SHARED, ttlMs: 500, maxHoldMs: 0 })
      await until('one is lost', () => ended.state === 'lost')
      const { token } = renewed
      const first = renewed.validUntil()
      await until('the other is renewed', () => renewed.validUntil() > first + 1_000)
      expect(renewed).toMatchObject({ state: 'held', token })
      expect(await b.tryAcquire(key)).toBeUndefined()
      expect((await b.inspect(key))?.holders.map((holder) => holder.token)).toEqual([token])
      await renewed.release()
      expect(await b.tryAcquire(key)).toMatchObject({ state: 'held' })
    })

    it('never lets a writer in with anybody else, whatever the interleaving', async () => {
      const key = randomUUID()
      const contenders = Array.from({ length: 4 }, () => contender())
      let [readers, writers] = [0, 0]
      const read = async (lease: Lease): Promise<void> => {
        readers += 1
        expect(writers).toBe(0)
        await new Promise((resolve) => setImmediate(resolve))
        lease.assertValid()
        readers -= 1
      }
      const write = async (): Promise<void> => {
        expect([++writers, readers]).toEqual([1, 0])
        await new Promise((resolve) => setImmediate(resolve))
        writers -= 1
      }
      const worker = async (index: number): Promise<void> => {
        const locks = contenders[index % contenders.length]
        for (let round = 0; round < 12; round++) {
          const writes = (index + round) % 4 === 0
          const options = { waitMs: 60_000, mode: writes ? 'exclusive' : 'shared' } as const
          await locks?.using(key, options, (lease) => (writes ? write() : read(lease)))
        }
      }
      await Promise.all(Array.from({ length: 12 }, (_, index) => worker(index)))
      expect([readers, writers]).toEqual([0, 0])
    })

    it('refuses to wait for itself, whatever the modes', async () => {
      const [locks, key] = [contender(), randomUUID()]
      await locks.using(key, SHARED, async () => {
        await expect(locks.acquire(key)).rejects.toMatchObject({ code: 'locks.reentered', key })
        await expect(locks.acquire(key, SHARED)).rejects.toMatchObject({ code: 'locks.reentered' })
        await expect(locks.using(key, { permits: 5 }, () => 1)).rejects.toMatchObject({ code: 'locks.reentered' })
        await expect(locks.acquireAll(['other', key])).rejects.toMatchObject({ code: 'locks.reentered', key })
      })
    })
  })
}

function permitCases({ contender }: LocksContext): void {
  describe('permits', () => {
    it('are given to as many as asked for, each with a lease of its own, and no more', async () => {
      const [a, b, key] = [contender(), contender(), randomUUID()]
      const leases = [
        await a.tryAcquire(key, { permits: 3 }),
        await b.tryAcquire(key, { permits: 3 }),
        await a.tryAcquire(key, { permits: 3 }),
      ]
      expect(new Set(leases.map((lease) => lease?.token)).size).toBe(3)
      expect(await b.tryAcquire(key, { permits: 3 })).toBeUndefined()
      expect(await leases[1]?.release()).toBe('released')
      expect(await leases[1]?.release()).toBe('released')
      expect(await b.tryAcquire(key, { permits: 3 })).toMatchObject({ state: 'held' })
      expect(await b.tryAcquire(key, { permits: 3 })).toBeUndefined()
      leases[0]?.assertValid()
    })

    it('never have more holders than permits, and are all used', async () => {
      const key = randomUUID()
      const contenders = Array.from({ length: 4 }, () => contender())
      const seen: number[] = []
      let inside = 0
      const worker = async (index: number): Promise<void> => {
        for (let round = 0; round < 10; round++) {
          await contenders[index % contenders.length]?.using(key, { permits: 3, waitMs: 60_000 }, async () => {
            seen.push(++inside)
            await until('all permits are used', () => seen.includes(3))
            inside -= 1
          })
        }
      }
      await Promise.all(Array.from({ length: 12 }, (_, index) => worker(index)))
      expect(seen).toHaveLength(120)
      expect(Math.max(...seen)).toBe(3)
    })

    it('are handed on in the order of arrival, at once', async () => {
      const [a, b, key] = [contender(), contender({ heartbeatMs: 20_000 }), randomUUID()]
      const holders = [await a.acquire(key, { permits: 2 }), await a.acquire(key, { permits: 2 })]
      const served: number[] = []
      const waiters: Promise<void>[] = []
      for (let n = 0; n < 6; n++) {
        waiters.push(b.using(key, { permits: 2 }, () => void served.push(n)))
        await inLine(a, key, n + 1)
      }
      await holders[1]?.release()
      await Promise.all(waiters)
      expect(served).toEqual([0, 1, 2, 3, 4, 5])
      holders[0]?.assertValid()
    })

    it('expired permits are given to the next in line', async () => {
      const [a, b, key] = [contender(), contender(), randomUUID()]
      const begun = performance.now()
      await a.acquire(key, { permits: 2 })
      await a.acquire(key, { permits: 2, ttlMs: 400, maxHoldMs: 0 })
      const served = gate()
      const waiters = [1, 2].map(() =>
        b.acquire(key, { permits: 2 }).then((lease) => {
          served.open()
          return lease
        }),
      )
      await served.opened
      const tookMs = performance.now() - begun
      expect(tookMs).toBeGreaterThanOrEqual(390)
      await expectWithin(tookMs, 5_000)
      await (await Promise.race(waiters)).release()
      await Promise.all(waiters)
    })

    it('are limited by what each one asks for', async () => {
      const [locks, key] = [contender(), randomUUID()]
      await locks.acquire(key, { permits: 2 })
      await locks.acquire(key, { permits: 2 })
      expect(await locks.tryAcquire(key, { permits: 2 })).toBeUndefined()
      expect(await locks.tryAcquire(key, { permits: 3 })).toMatchObject({ state: 'held' })
      expect(await locks.tryAcquire(key, { permits: 3 })).toBeUndefined()
      expect(await locks.tryAcquire(key)).toBeUndefined()
    })

    it('leave a waiter that needs more room to wait without letting others pass it', async () => {
      const [a, b, key] = [contender(), contender({ heartbeatMs: 20_000 }), randomUUID()]
      const holders = [await a.acquire(key, { permits: 3 }), await a.acquire(key, { permits: 3 })]
      const alone = b.acquire(key)
      await inLine(a, key, 1)
      expect(await a.tryAcquire(key, { permits: 3 })).toBeUndefined()
      await holders[0]?.release()
      expect(await a.tryAcquire(key, { permits: 3 })).toBeUndefined()
      await holders[1]?.release()
      await (await alone).release()
    })

    it('name the option that is wrong', async () => {
      const locks = contender()
      await expect(locks.acquire('k', { permits: 0 })).rejects.toThrow(
        'lock("k").permits: expected a whole number >= 1',
      )
      await expect(locks.acquire('k', { permits: 2, mode: 'shared' })).rejects.toThrow('no mode beside permits')
      await expect(locks.acquire('k', { mode: 'read' as 'shared' })).rejects.toThrow('one of exclusive, shared')
    })
  })
}
