/** kafkajs' own consumer over a broker that answers on command, and the subscription on top of it. */
import { MINUTE, silentLogger, systemClock } from 'concordat/core'
import { createConsumer, gatedAssigner, KafkaSubscription, resolveKafkaOptions } from '../inside.ts'
import { range } from '../kit.ts'
import { LENGTH, PARTITIONS, Play, playsRebalances } from '../rebalance-play.ts'
import { ScriptedClient } from './scripted-client.ts'

function begin(prefetch: number): Play {
  const { group, kafka } = new ScriptedClient(range(PARTITIONS).map(() => LENGTH))
  const options = resolveKafkaOptions({
    kafka,
    sessionTimeoutMs: 20 * MINUTE,
    heartbeatIntervalMs: 50,
    rebalanceTimeoutMs: 20 * MINUTE,
    maxWaitMs: 10,
  })
  const spec = { topic: 't', groupId: 'g.t', partitions: PARTITIONS, prefetch, prefetchBytes: 1_000_000 }
  return new Play(
    group,
    (recorder) =>
      new KafkaSubscription(
        { ...spec, startAt: undefined },
        {
          options,
          clock: systemClock,
          logger: silentLogger,
          createConsumer: (each, beforeJoin) => createConsumer(options, each, gatedAssigner(systemClock, beforeJoin)),
          onAnswer: () => {},
          onEnd: () => Promise.resolve(),
        },
        recorder,
      ),
  )
}

playsRebalances(
  'whatever is answered when, every partition that is assigned in the end is fetched to its end, and nothing is skipped',
  begin,
)
