import { memoryBroker, memoryTransport } from 'concordat/memory'
import { transportConformance } from '../../conformance/transport.ts'

transportConformance('memory', async () => {
  const broker = memoryBroker()
  return {
    transport: () => memoryTransport({ broker }),
    broker: { kill: async () => broker.interrupt(), restart: async () => broker.recover() },
    close: async () => {},
  }
})
