import { memoryStateServer, memoryStateStore } from 'concordat/memory'
import { afterAll, describe, expect } from 'vitest'
import { clusterConformance } from '../../../conformance/cluster.ts'
import { refusals, refusingClusterStore } from '../../../support/refusals.ts'

const refused = refusals(20_261_121, 12)
afterAll(() => expect(refused.count).toBeGreaterThan(0))

// The store refuses calls by their order, and so by timing. The report names a second attempt.
describe('now and then', { retry: 1 }, () => {
  clusterConformance(
    'refusing memory',
    async () => {
      const server = memoryStateServer()
      return {
        store: () => refusingClusterStore(memoryStateStore({ server }), refused),
        wipe: async () => server.clear(),
        close: async () => {},
      }
    },
    { store: false },
  )
})
