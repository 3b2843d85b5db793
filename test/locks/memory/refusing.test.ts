// oxlint-disable no-restricted-imports -- inside of the memory adapter: its bare store
import { createLocks } from 'concordat/locks'
import { memoryLockServer, memoryLocks } from 'concordat/memory'
import { afterAll, describe, expect } from 'vitest'
import { MemoryLockStore } from '../../../locks/memory/store.ts'
import { locksConformance } from '../../conformance/locks.ts'
import { persistent, refusals, refusingLockStore } from '../../support/refusals.ts'

// A store that may be down for a moment at any call. `acquire` and the leases recover by themselves; single calls
// reject, and their caller repeats them.
const ASKED_AGAIN = [
  'tryAcquire',
  'acquire',
  'acquireAll',
  'using',
  'usingAll',
  'inspect',
  'list',
  'forceRelease',
  'audit',
] as const
const refused = refusals(20_261_121, 12)
afterAll(() => expect(refused.count).toBeGreaterThan(0))

// The store refuses calls by their order, and so by timing. The report names a second attempt.
describe('now and then', { retry: 1 }, () => {
  locksConformance('refusing memory', async () => {
    const server = memoryLockServer()
    return {
      contender: (options = {}) => {
        // The case's clock moves only on request: refused calls would never be repeated.
        if (options.clock !== undefined) return memoryLocks({ ...options, server })
        const store = refusingLockStore(new MemoryLockStore(server), refused)
        return persistent(createLocks(store, options), ASKED_AGAIN)
      },
      leftovers: async () => server.keys(),
      close: async () => {},
    }
  })
})
