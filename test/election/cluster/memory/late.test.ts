import { memoryStateServer, memoryStateStore } from 'concordat/cluster/memory'
import { type ClusterHarness, clusterConformance } from '../../../conformance/cluster.ts'
import { lagging } from '../../../support/cluster/lagging.ts'

/**
 * As over a network: what a process hears of the log lies behind what the store answers, now more, now less. States only: what
 * members are told when the store lost everything depends on how late each of them hears of it.
 */
const setup = async (): Promise<ClusterHarness> => {
  const server = memoryStateServer()
  let n = 0
  return {
    store: () => lagging(memoryStateStore({ server }), () => (n++ * 7) % 12).store,
    wipe: async () => server.clear(),
    close: async () => {},
  }
}

clusterConformance('memory, heard late,', setup, { members: false })
