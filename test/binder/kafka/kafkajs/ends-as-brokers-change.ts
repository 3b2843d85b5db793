/** A process whose subscription ends while kafkajs waits for a fetch before it goes on with other brokers. Says `ended`. */
import { setTimeout as pause } from 'node:timers/promises'
import { MINUTE, silentLogger, systemClock } from 'concordat/core'
import { createConsumer, gatedAssigner, KafkaSubscription, resolveKafkaOptions } from '../inside.ts'
import { ScriptedClient } from './scripted-client.ts'

const client = new ScriptedClient([0, 0], [1, 2])
const options = resolveKafkaOptions({
  kafka: client.kafka,
  sessionTimeoutMs: MINUTE,
  heartbeatIntervalMs: 50,
  rebalanceTimeoutMs: MINUTE,
  maxWaitMs: 10,
})
const subscription = new KafkaSubscription(
  { topic: 't', groupId: 'g.t', partitions: 2, prefetch: 10, prefetchBytes: 1_000_000, startAt: undefined },
  {
    options,
    clock: systemClock,
    logger: silentLogger,
    createConsumer: (each, beforeJoin) => createConsumer(options, each, gatedAssigner(systemClock, beforeJoin)),
    onAnswer: () => {},
    onEnd: () => Promise.resolve(),
  },
  { deliver: () => {}, recall: () => {}, lost: () => {} },
)

let leadersAnswer = true
const answers = setInterval(() => {
  client.group.serve()
  if (leadersAnswer) client.group.serveFetch()
  client.group.read()
}, 1)

await subscription.open()
leadersAnswer = false
// Each of the two brokers has a fetch by now. One of them is answered, and then there is only one broker.
await pause(100)
client.nodes = [1]
client.group.serveFetch()
await pause(20)
const ended = subscription.ended()
await pause(20)
leadersAnswer = true
await ended
clearInterval(answers)
process.stdout.write('ended\n')
