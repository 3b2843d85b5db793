import { memoryCluster, memoryClusterServer } from 'concordat/election/memory'
import { clusterConformance } from '../conformance/cluster.ts'
import { lagging } from '../support/cluster/lagging.ts'

/** As over a network: what a process hears of the log lies behind what the store answers, now more, now less. */
clusterConformance('memory, heard late,', async () => {
  const server = memoryClusterServer()
  let n = 0
  return {
    store: () => lagging(memoryCluster({ server }), () => (n++ * 7) % 12).store,
    wipe: async () => server.clear(),
    close: async () => {},
  }
})
