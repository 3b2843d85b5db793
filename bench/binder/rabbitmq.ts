import { type ChannelModel, type ConfirmChannel, connect, type Options } from 'amqplib'
import { type Binder, type Channel, createBinder, partitionOf, sink } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { newId } from 'concordat/core'
import { type Measured, timed } from '../compare.ts'
import type { SuiteOptions } from '../main.ts'
import { Arrivals, batches, benchChannel, PARTITIONS, Payload, PREFETCH, payloads, SIZES } from './workload.ts'

const COUNT = 20_000

export async function measureRabbit(url: string, options: SuiteOptions): Promise<void> {
  for (const { label, bytes } of SIZES) {
    const bench = new RabbitBench(url, payloads(COUNT, bytes))
    await bench.open()
    try {
      await bench.measure(label, options)
    } finally {
      await bench.close()
    }
  }
}

/** One size. The bare side publishes to an exchange of its own with the same four durable queues behind it. */
class RabbitBench {
  readonly #url: string
  readonly #payloads: readonly Payload[]
  readonly #channel: Channel<Payload, Payload> = benchChannel(`bench-${newId()}`)
  readonly #bareExchange = `bare-${newId()}`
  readonly #binder: Binder
  #connection: ChannelModel | undefined
  #confirms: ConfirmChannel | undefined

  constructor(url: string, all: readonly Payload[]) {
    this.#url = url
    this.#payloads = all
    this.#binder = createBinder({ service: 'bench', transport: rabbitTransport({ url }), sends: [this.#channel] })
  }

  async open(): Promise<void> {
    await this.#binder.start()
    this.#connection = await connect(this.#url, { noDelay: true })
    this.#confirms = await this.#connection.createConfirmChannel()
    await this.#confirms.assertExchange(this.#bareExchange, 'direct', { durable: true })
    for (const queue of this.#bareQueues()) {
      await this.#confirms.assertQueue(queue, { durable: true, arguments: { 'x-single-active-consumer': true } })
      await this.#confirms.bindQueue(queue, this.#bareExchange, queue.slice(-1))
    }
    await this.#binder.sendBatch(this.#channel, this.#payloads.slice(0, 1))
    await this.#purge(this.#ourQueues())
  }

  async close(): Promise<void> {
    const channel = await this.#connection?.createChannel()
    for (const queue of [...this.#ourQueues(), ...this.#bareQueues()]) await channel?.deleteQueue(queue)
    for (const exchange of [this.#bareExchange, this.#channel.name, `${this.#channel.name}:partitions`])
      await channel?.deleteExchange(exchange)
    await this.#connection?.close()
    await this.#binder.close()
  }

  async measure(label: string, { measure }: SuiteOptions): Promise<void> {
    await measure({
      what: `rabbitmq, publish, ${label}, messages/s`,
      ours: () => this.#emptied(this.#ourQueues(), () => this.#publishOurs()),
      peer: {
        name: 'amqplib confirm channel, same batch, same properties',
        run: () => this.#emptied(this.#bareQueues(), () => this.#publishBare(properties)),
      },
    })
    await measure({
      what: `rabbitmq, publish, ${label}, messages/s`,
      ours: () => this.#emptied(this.#ourQueues(), () => this.#publishOurs()),
      peer: {
        name: 'the same without any header, id or check',
        run: () => this.#emptied(this.#bareQueues(), () => this.#publishBare(plainProperties)),
      },
    })
    await measure({
      what: `rabbitmq, consume, ${label}, messages/s`,
      ours: () => this.#consumeOurs(),
      peer: { name: 'amqplib consume, parse and check, ack each, same prefetch', run: () => this.#consumeBare() },
    })
  }

  #publishOurs(): Promise<Measured> {
    return timed(this.#payloads.length, async () => {
      for (const batch of batches(this.#payloads)) await this.#binder.sendBatch(this.#channel, batch)
    })
  }

  #publishBare(toOptions: (payload: Payload, exchange: string) => Options.Publish): Promise<Measured> {
    const channel = this.#confirmChannel()
    return timed(this.#payloads.length, async () => {
      for (const batch of batches(this.#payloads)) {
        for (const payload of batch) {
          const routingKey = String(partitionOf(payload.account, PARTITIONS))
          const content = Buffer.from(JSON.stringify(payload))
          channel.publish(this.#bareExchange, routingKey, content, toOptions(payload, this.#bareExchange))
        }
        await channel.waitForConfirms()
      }
    })
  }

  async #consumeOurs(): Promise<Measured> {
    await this.#publishOurs()
    const arrivals = new Arrivals(COUNT)
    const options = { group: 'bench', concurrency: PARTITIONS, prefetch: PREFETCH, onFailure: 'drop' } as const
    const binding = sink(this.#channel, options, () => arrivals.note())
    const transport = rabbitTransport({ url: this.#url })
    await using binder = createBinder({ service: 'bench', transport, bindings: [binding] })
    await binder.start()
    return await arrivals.measured()
  }

  async #consumeBare(): Promise<Measured> {
    await this.#publishBare(properties)
    const arrivals = new Arrivals(COUNT)
    const connection = await connect(this.#url, { noDelay: true })
    const channel = await connection.createChannel()
    await channel.prefetch(PREFETCH / PARTITIONS)
    for (const queue of this.#bareQueues()) {
      await channel.consume(queue, (message) => {
        if (message === null) return
        Payload.parse(JSON.parse(message.content.toString()))
        arrivals.note()
        channel.ack(message)
      })
    }
    const measured = await arrivals.measured()
    await channel.close()
    await connection.close()
    return measured
  }

  async #emptied(queues: readonly string[], work: () => Promise<Measured>): Promise<Measured> {
    const measured = await work()
    await this.#purge(queues)
    return measured
  }

  async #purge(queues: readonly string[]): Promise<void> {
    for (const queue of queues) await this.#confirmChannel().purgeQueue(queue)
  }

  #confirmChannel(): ConfirmChannel {
    if (this.#confirms === undefined) throw new Error('open() first')
    return this.#confirms
  }

  #ourQueues(): string[] {
    return Array.from({ length: PARTITIONS }, (_, i) => `${this.#channel.name}:bench:${i}`)
  }

  #bareQueues(): string[] {
    return Array.from({ length: PARTITIONS }, (_, i) => `${this.#bareExchange}-${i}`)
  }
}

/** What a careful user would write by hand: checked, with an id and the CloudEvents headers. */
function properties(payload: Payload, exchange: string): Options.Publish {
  Payload.parse(payload)
  const id = newId()
  const time = new Date()
  return {
    persistent: true,
    mandatory: true,
    messageId: id,
    type: exchange,
    appId: 'bench',
    timestamp: Math.floor(time.getTime() / 1_000),
    contentType: 'application/json',
    headers: {
      cloudEvents_specversion: '1.0',
      cloudEvents_id: id,
      cloudEvents_source: 'bench',
      cloudEvents_type: exchange,
      cloudEvents_time: time.toISOString(),
      cloudEvents_partitionkey: payload.account,
    },
  }
}

function plainProperties(): Options.Publish {
  return { persistent: true, mandatory: true }
}
