import type { Lease } from 'concordat/locks'
import { memoryLockServer, memoryLocks } from 'concordat/memory'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { LockMode } from '../support/inside/locks.ts'
import { inputs } from '../support/suite/night.ts'

const KEYS = ['a', 'b', 'c', 'd']
const wish = fc.record({
  keys: fc.shuffledSubarray(KEYS, { minLength: 1 }),
  mode: fc.constantFrom<LockMode>('exclusive', 'shared'),
  turns: fc.integer({ min: 0, max: 3 }),
})

/** Tracks the holders of each key, and asserts that there are no others. */
class Rooms {
  readonly #inside = new Map<string, Map<Lease, LockMode>>(KEYS.map((key) => [key, new Map()]))

  enter(leases: readonly Lease[], mode: LockMode): void {
    for (const lease of leases) {
      const others = this.#inside.get(lease.key) as Map<Lease, LockMode>
      const allowed = mode === 'exclusive' ? others.size === 0 : ![...others.values()].includes('exclusive')
      expect(allowed, `${mode} in ${lease.key} beside ${[...others.values()].join()}`).toBe(true)
      others.set(lease, mode)
    }
  }

  leave(leases: readonly Lease[]): void {
    for (const lease of leases) this.#inside.get(lease.key)?.delete(lease)
  }
}

it('callers that claim several keys, in any orders and modes, never wait for each other permanently', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(wish, { maxLength: 5 }), { maxLength: 6 }), async (callers) => {
      const server = memoryLockServer()
      const rooms = new Rooms()
      const call = async (wishes: (typeof callers)[number], caller: number): Promise<void> => {
        // The callers would wait far longer than the test may take: a deadlock is a failure, not a delay.
        await using locks = memoryLocks({ server, owner: `${caller}` })
        for (const { keys, mode, turns } of wishes) {
          await locks.usingAll(keys, { mode, waitMs: 600_000 }, async ({ leases }) => {
            rooms.enter(leases, mode)
            for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve))
            rooms.leave(leases)
          })
        }
      }
      await Promise.all(callers.map(call))
      expect(server.keys()).toEqual([])
    }),
    { numRuns: inputs(200) },
  )
})
