// oxlint-disable no-restricted-imports -- inside of the memory adapter: its bare store
import { createLocks } from 'concordat/locks'
import { memoryLockServer, memoryLocks } from 'concordat/locks/memory'
import { afterAll, describe, expect } from 'vitest'
import { MemoryLockStore } from '../../../locks/memory/store.ts'
import { locksConformance } from '../../conformance/locks.ts'
import { persistent, refusals, refusingLockStore } from '../../support/refusals.ts'

// A store that is away for a moment at any call. `acquire` and the leases get over it themselves; who asks once is told,
// and asks again.
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

// What is refused depends on the order of calls, and so on time. A second try is named in the report.
describe('now and then', { retry: 1 }, () => {
  locksConformance('refusing memory', async () => {
    const server = memoryLockServer()
    return {
      contender: (options = {}) => {
        // Its clock stands still until the case moves it: what was refused would never be asked again.
        if (options.clock !== undefined) return memoryLocks({ ...options, server })
        const store = refusingLockStore(new MemoryLockStore(server), refused)
        return persistent(createLocks(store, options), ASKED_AGAIN)
      },
      leftovers: async () => server.keys(),
      close: async () => {},
    }
  })
})
