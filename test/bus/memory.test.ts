import { memoryBroker, memoryTransport } from 'concordat/memory'
import { busConformance } from '../conformance/bus.ts'

busConformance('memory', async () => {
  const broker = memoryBroker()
  return { transport: () => memoryTransport({ broker }), close: async () => {} }
})
