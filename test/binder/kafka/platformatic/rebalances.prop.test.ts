/** Our own member of a group over a broker that answers on command. */
import { MINUTE, silentLogger, systemClock } from 'concordat/core'
import { GroupMember } from '../inside.ts'
import { range } from '../kit.ts'
import { LENGTH, PARTITIONS, Play, playsRebalances } from '../rebalance-play.ts'
import { makeBatches, ScriptedCluster } from './scripted-cluster.ts'

const batches = await makeBatches()

function begin(prefetch: number): Play {
  const { group, cluster } = new ScriptedCluster(
    range(PARTITIONS).map(() => LENGTH),
    batches,
  )
  const settings = {
    sessionTimeoutMs: 20 * MINUTE,
    heartbeatIntervalMs: 50,
    rebalanceTimeoutMs: 20 * MINUTE,
    connectTimeoutMs: MINUTE,
    requestTimeoutMs: 20 * MINUTE,
    commitIntervalMs: 200,
    maxWaitMs: 10,
    maxBatchBytes: 1_000_000,
  }
  const spec = { topic: 't', groupId: 'g.t', partitions: PARTITIONS, prefetch, prefetchBytes: 1_000_000 }
  const host = {
    settings,
    cluster,
    clock: systemClock,
    logger: silentLogger,
    onAnswer: () => {},
    onEnd: () => Promise.resolve(),
  }
  return new Play(group, (recorder) => new GroupMember({ ...spec, startAt: undefined }, host, recorder))
}

playsRebalances(
  'whatever is answered when, every partition that is assigned in the end is read to its end, and nothing is skipped',
  begin,
)
