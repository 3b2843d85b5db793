import { memoryBroker, memoryTransport } from 'concordat/memory'
import { afterAll, describe, expect } from 'vitest'
import { transportConformance } from '../../conformance/transport.ts'
import { refusals, refusingTransport } from '../../support/refusals.ts'

const refused = refusals(20_261_121, 12)
afterAll(() => expect(refused.count).toBeGreaterThan(0))

// The broker refuses calls by their order, and so by timing. The report names a second attempt.
describe('now and then', { retry: 1 }, () => {
  transportConformance('refusing memory', async () => {
    const broker = memoryBroker()
    return {
      transport: () => refusingTransport(memoryTransport({ broker }), refused),
      broker: { kill: async () => broker.interrupt(), restart: async () => broker.recover() },
      close: async () => {},
    }
  })
})
