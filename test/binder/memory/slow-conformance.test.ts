import { memoryBroker, memoryTransport } from 'concordat/memory'
import { transportConformance } from '../../conformance/transport.ts'
import { pauses, slowTransport } from '../../support/slow.ts'

// Answers in the same turn hide network delays: each call takes up to a few milliseconds, before and after.
const SEED = 20_261_121
transportConformance('slow memory', async () => {
  const broker = memoryBroker()
  const pause = pauses(SEED, 4)
  return {
    transport: () => slowTransport(memoryTransport({ broker }), pause),
    broker: { kill: async () => broker.interrupt(), restart: async () => broker.recover() },
    close: async () => {},
  }
})
