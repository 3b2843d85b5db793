import { type ConfirmChannel, connect, type Options } from 'amqplib'
import { partitionOf } from 'concordat/binder'
import { Arrivals } from '../arrivals.ts'
import { type Measured, timed } from '../compare.ts'
import { newId } from '../inside.ts'
import { bareQueues } from './rabbitmq.ts'
import { type Scene, serveSide, type Works } from './side.ts'
import { batches, PARTITIONS, Payload, PREFETCH, payloads } from './workload.ts'

type ToOptions = (payload: Payload, exchange: string) => Options.Publish

await serveSide(async (scene: Scene): Promise<Works> => {
  const exchange = `bare-${scene.publishing}`
  const queues = bareQueues(exchange)
  const all = payloads(scene.count, scene.bytes)
  const connection = await connect(scene.address, { noDelay: true })
  const channel = await connection.createConfirmChannel()
  await declare(channel, exchange, queues)
  const purge = async (): Promise<void> => {
    for (const queue of queues) await channel.purgeQueue(queue)
  }

  const send = async (toOptions: ToOptions, padding = ''): Promise<void> => {
    for (const batch of batches(all)) {
      for (const payload of batch) {
        const partition = scene.keyed ? partitionOf(payload.account, PARTITIONS) : payload.n % PARTITIONS
        const content = Buffer.from(JSON.stringify(payload) + padding)
        channel.publish(exchange, String(partition), content, toOptions(payload, exchange))
      }
      await channel.waitForConfirms()
    }
  }

  const publish = async (toOptions: ToOptions, padding?: string): Promise<Measured> => {
    await purge()
    const measured = await timed(all.length, () => send(toOptions, padding))
    await purge()
    return measured
  }

  const consume = async (): Promise<Measured> => {
    await purge()
    await send(withProperties)
    const arrivals = new Arrivals(all.length)
    const reader = await connect(scene.address, { noDelay: true })
    const reading = await reader.createChannel()
    await reading.prefetch(PREFETCH / PARTITIONS)
    for (const queue of queues) {
      await reading.consume(queue, (message) => {
        if (message === null) return
        Payload.parse(JSON.parse(message.content.toString()))
        arrivals.note()
        reading.ack(message)
      })
    }
    const measured = await arrivals.measured()
    await reading.close()
    await reader.close()
    return measured
  }

  const withProperties: ToOptions = (payload, type) => properties(payload, type, scene.keyed)
  const constant = properties({ n: 0, account: 'account-10', text: '' }, exchange, scene.keyed)
  const { messageId, type, appId, contentType, headers } = constant
  const padding = ' '.repeat([messageId, type, appId, contentType, ...Object.entries({ ...headers })].join().length)
  const leave = async (): Promise<void> => {
    for (const queue of queues) await channel.deleteQueue(queue)
    await channel.deleteExchange(exchange)
    await connection.close()
  }
  return {
    publish: () => publish(withProperties),
    publishPlain: () => publish(plainProperties),
    publishPadded: () => publish(plainProperties, padding),
    publishConstant: () => publish(() => constant),
    consume,
    leave,
  }
})

async function declare(channel: ConfirmChannel, exchange: string, queues: readonly string[]): Promise<void> {
  await channel.assertExchange(exchange, 'direct', { durable: true })
  for (const [partition, queue] of queues.entries()) {
    await channel.assertQueue(queue, { durable: true, arguments: { 'x-single-active-consumer': true } })
    await channel.bindQueue(queue, exchange, String(partition))
  }
}

/** Properties that a careful user would write by hand: a checked payload, an id and the CloudEvents headers. */
function properties(payload: Payload, type: string, keyed: boolean): Options.Publish {
  Payload.parse(payload)
  const id = newId()
  const time = new Date()
  return {
    persistent: true,
    mandatory: true,
    messageId: id,
    type,
    appId: 'bench',
    timestamp: Math.floor(time.getTime() / 1_000),
    contentType: 'application/json',
    headers: {
      'cloudEvents:specversion': '1.0',
      'cloudEvents:id': id,
      'cloudEvents:source': 'bench',
      'cloudEvents:type': type,
      'cloudEvents:time': time.toISOString(),
      ...(keyed ? { 'cloudEvents:partitionkey': payload.account } : {}),
    },
  }
}

function plainProperties(): Options.Publish {
  return { persistent: true, mandatory: true }
}
