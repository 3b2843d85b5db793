/**
 * THE lock conformance suite: `locks/lock.ts` as tests. Every store passes all of it, Redis on a real server. Contenders
 * have connections of their own, like separate processes.
 */
import type { Locks } from 'concordat/locks'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { LocksOptions } from '../support/inside/locks.ts'
import { delayCases } from './locks-delay.ts'
import { grantCases } from './locks-grant.ts'
import type { LocksContext, LocksFeature } from './locks-kit.ts'
import { lifeCases } from './locks-life.ts'
import { lineCases } from './locks-line.ts'
import { operatorCases } from './locks-operator.ts'
import { setCases } from './locks-sets.ts'
import { sharedCases } from './locks-shared.ts'

export interface LocksHarness {
  /** Another contender on the same store. */
  contender(options?: LocksOptions): Locks
  /** Locks and places in line that should have been deleted. Counters and audits stay, tombstones expire. */
  leftovers(): Promise<readonly string[]>
  close(): Promise<void>
}

/** @param missing what the store's `features` declare missing: then the suite checks that it is refused */
export function locksConformance(
  name: string,
  setup: () => Promise<LocksHarness>,
  missing: readonly LocksFeature[] = [],
): void {
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
      has: (feature) => !missing.includes(feature),
    }

    grantCases(context)
    lineCases(context)
    lifeCases(context)
    sharedCases(context)
    setCases(context)
    delayCases(context)
    operatorCases(context)

    it('leaves nothing but fencing counters and audit trails behind', async () => {
      await expect.poll(() => harness.leftovers(), { timeout: 5_000 }).toEqual([])
    })
  })
}
