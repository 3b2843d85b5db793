/** kafkajs' own consumer over a broker that answers on command, and the subscription on top of it. */
import { range } from '../kit.ts'
import { LENGTH, PARTITIONS, Play, playsRebalances } from '../rebalance-play.ts'
import { ScriptedClient, subscribeTo } from './scripted-client.ts'

function begin(prefetch: number): Play {
  // Two brokers: the fetch of one can be under way while the other's makes kafkajs join anew.
  const client = new ScriptedClient(
    range(PARTITIONS).map(() => LENGTH),
    [1, 2],
  )
  return new Play(client.group, (recorder) => subscribeTo(client, prefetch, recorder))
}

playsRebalances(
  'whatever is answered when, every partition that is assigned in the end is fetched to its end, and nothing is skipped',
  begin,
)
