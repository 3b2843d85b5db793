import { memoryStateServer, memoryStateStore } from 'concordat/memory'
import { type ClusterHarness, clusterConformance } from '../../../conformance/cluster.ts'
import { lagging } from '../../../support/cluster/lagging.ts'

/**
 * Network delays: a process receives log entries later than the store's answer, by a varying time. States only: after a store
 * has lost everything, the events of members depend on the delay of each.
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
