import { memoryCluster, memoryClusterServer } from 'concordat/election/memory'
import { clusterConformance } from '../conformance/cluster.ts'

clusterConformance('memory', async () => {
  const server = memoryClusterServer()
  return {
    store: () => memoryCluster({ server }),
    wipe: async () => server.clear(),
    close: async () => {},
  }
})
