/**
 * THE lock conformance suite: `locks/lock.ts` as tests. Every store passes all of it, Redis on a real server. Contenders
 * have connections of their own, like separate processes.
 */
import type { Locks, LocksOptions } from 'concordat/locks'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { grantCases } from './locks-grant.ts'
import { lifeCases } from './locks-life.ts'
import { lineCases } from './locks-line.ts'

export interface LocksHarness {
  /** Another contender on the same store. */
  contender(options?: LocksOptions): Locks
  /** What the store still holds that should be gone: locks and places in line. Counters stay, tombstones expire. */
  leftovers(): Promise<readonly string[]>
  close(): Promise<void>
}

/** What a case works with; contenders are closed after it. */
export interface LocksContext {
  readonly contender: (options?: LocksOptions) => Locks
}

export function locksConformance(name: string, setup: () => Promise<LocksHarness>): void {
  describe(`${name} locks conformance`, () => {
    let harness: LocksHarness
    const open = new Set<Locks>()
    beforeAll(async () => {
      harness = await setup()
    })
    afterAll(() => harness.close())
    afterEach(async () => {
      await Promise.all([...open].map((locks) => locks.close()))
      open.clear()
    })
    const context: LocksContext = {
      contender: (options) => {
        const locks = harness.contender(options)
        open.add(locks)
        return locks
      },
    }

    grantCases(context)
    lineCases(context)
    lifeCases(context)

    it('leaves nothing but fencing counters behind', async () => {
      await expect.poll(() => harness.leftovers(), { timeout: 5_000 }).toEqual([])
    })
  })
}
