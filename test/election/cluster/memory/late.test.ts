import { memoryStateServer, memoryStateStore } from 'concordat/memory'
import { type ClusterHarness, clusterConformance } from '../../../conformance/cluster.ts'
import { lagging } from '../../../support/cluster/lagging.ts'

/**
 * Network delays: a process learns of log entries later than the store answers, by a varying time. States only: what
 * members learn about a store that lost everything depends on how late each of them hears of it.
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
