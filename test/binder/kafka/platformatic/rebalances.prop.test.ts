/** Our own member of a group over a broker that answers on command. */
import { range } from '../kit.ts'
import { LENGTH, PARTITIONS, Play, playsRebalances } from '../rebalance-play.ts'
import { makeBatches, memberOf, ScriptedCluster } from './scripted-cluster.ts'

const batches = await makeBatches()

function begin(prefetch: number): Play {
  const scripted = new ScriptedCluster(
    range(PARTITIONS).map(() => LENGTH),
    batches,
  )
  return new Play(scripted.group, (recorder) => memberOf(scripted, prefetch, recorder))
}

playsRebalances(
  'whatever is answered when, every partition that is assigned in the end is read to its end, and nothing is skipped',
  begin,
)
