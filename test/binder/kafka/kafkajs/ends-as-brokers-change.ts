/**
 * Process whose subscription ends while kafkajs waits for a fetch before it continues with other brokers. Prints
 * `ended`.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { ScriptedClient, subscribeTo } from './scripted-client.ts'

const client = new ScriptedClient([0, 0], [1, 2])
const subscription = subscribeTo(client, 10, { deliver: () => {}, recall: () => {}, lost: () => {} })

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
