import { memoryStateServer, memoryStateStore } from 'concordat/memory'
import { clusterConformance } from '../../../conformance/cluster.ts'

clusterConformance('memory', async () => {
  const server = memoryStateServer()
  return {
    store: () => memoryStateStore({ server }),
    wipe: async () => server.clear(),
    close: async () => {},
  }
})
