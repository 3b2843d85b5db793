import { connect } from 'amqplib'
import { createBinder, sink } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { Arrivals } from '../arrivals.ts'
import { type Measured, timed } from '../compare.ts'
import { ourQueues } from './rabbitmq.ts'
import { type Scene, serveSide, type Works } from './side.ts'
import { batches, benchChannel, PARTITIONS, PREFETCH, payloads } from './workload.ts'

await serveSide(async (scene: Scene): Promise<Works> => {
  const url = scene.address
  const all = payloads(scene.count, scene.bytes)
  const channel = benchChannel(scene.publishing, scene.keyed)
  const sender = createBinder({ service: 'bench', transport: rabbitTransport({ url }), sends: [channel] })
  await sender.start()
  await sender.sendBatch(channel, all.slice(0, 1))
  const connection = await connect(url)
  const admin = await connection.createChannel()
  const purge = async (): Promise<void> => {
    for (const queue of ourQueues(channel.name)) await admin.purgeQueue(queue)
  }
  const send = async (): Promise<void> => {
    for (const batch of batches(all)) await sender.sendBatch(channel, batch)
  }

  const publish = async (): Promise<Measured> => {
    await purge()
    const measured = await timed(all.length, send)
    await purge()
    return measured
  }

  const consume = async (): Promise<Measured> => {
    await purge()
    await send()
    const arrivals = new Arrivals(all.length)
    const flow = { concurrency: PARTITIONS, prefetch: PREFETCH, onFailure: 'drop' } as const
    const binding = sink(channel, { group: 'bench', ...flow }, () => arrivals.note())
    await using binder = createBinder({ service: 'bench', transport: rabbitTransport({ url }), bindings: [binding] })
    await binder.start()
    return await arrivals.measured()
  }

  const leave = async (): Promise<void> => {
    await sender.close()
    for (const queue of ourQueues(channel.name)) await admin.deleteQueue(queue)
    for (const exchange of [channel.name, `${channel.name}:partitions`]) await admin.deleteExchange(exchange)
    await connection.close()
  }

  return { publish, consume, leave }
})
