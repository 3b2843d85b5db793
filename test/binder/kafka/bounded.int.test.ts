/** Batches that decompress to a thousand times their size, on both client libraries. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { silentLogger, systemClock } from 'concordat/core'
import type { Transport } from 'concordat/extension'
import { it, onTestFinished } from 'vitest'
import type { KafkaCommonOptions, Stall } from '../../support/inside/binder.ts'
import { kafkajsOn, platformaticOn } from '../../support/kafka-driver.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { client, freshTopic, Recorder, range, subscribe } from './kit.ts'

const url = (): string => serverUrl('kafka') as string
/** Codecs by their numbers in the protocol. */
const CODECS = { gzip: 1, snappy: 2, lz4: 3, zstd: 4 } as const
const DRIVERS = { kafkajs: kafkajsOn, platformatic: platformaticOn } as const
const MB = 1_000_000

type Driver = keyof typeof DRIVERS

function attachedOn(driver: Driver, options: KafkaCommonOptions = {}): Transport {
  const transport = DRIVERS[driver](url(), options)
  transport.attach({ service: 'tests', instance: 'tests-1', logger: silentLogger, clock: systemClock })
  onTestFinished(() => transport.close())
  return transport
}

/** A bare producer, which does not ask how large a message may be. */
async function sender(): Promise<(topic: string, partition: number, values: Buffer[], codec: number) => Promise<void>> {
  const producer = client(url()).producer()
  await producer.connect()
  onTestFinished(() => producer.disconnect())
  return async (topic, partition, values, codec) => {
    const messages = values.map((value) => ({ partition, value }))
    await producer.send({ topic, acks: -1, compression: codec, messages })
  }
}

class Watched extends Recorder {
  stall: Stall | undefined

  stalled(stall: Stall | undefined): void {
    this.stall = stall
  }
}

const drivers = Object.keys(DRIVERS) as Driver[]
const cases = drivers.flatMap((driver) => Object.entries(CODECS).map(([name, codec]) => [driver, name, codec] as const))

describeWith(['kafka'], 'Kafka and batches with a high compression ratio', () => {
  it.for(cases)(
    'on %s, %s: a partition is blocked with the option to raise, the others continue',
    async ([driver, , codec], { expect }) => {
      const careful = attachedOn(driver, { maxBatchBytes: MB })
      // kafkajs has the codecs once a transport on it was there.
      attachedOn('kafkajs')
      const topic = await freshTopic(careful, 2)
      const send = await sender()
      await send(topic, 0, [Buffer.alloc(4 * MB)], codec)
      await send(topic, 1, [Buffer.from('0')], 0)
      const first = new Watched()
      const subscription = await subscribe(careful, topic, first, { partitions: 2 })
      await until('it is said', () => first.stall !== undefined)
      expect(first.stall?.reason.message).toMatch(
        /partition 0 of .* at offset 0 cannot be read: it becomes more than 1000000 bytes: raise maxBatchBytes/,
      )
      expect(first.stall?.reason.cause).toMatchObject({ code: 'binder.kafka.batch_too_large' })
      await send(topic, 1, [Buffer.from('1')], codec)
      await until('the other partition goes on', () => first.got.length === 2)
      expect(first.numbers).toEqual([0, 1])
      await subscription.close()
      const second = new Watched()
      await subscribe(attachedOn(driver), topic, second, { partitions: 2 })
      await until('it is read where more is allowed', () => second.got.length === 1)
      expect(second.got[0]?.message.body?.byteLength).toBe(4 * MB)
    },
  )

  it.for(drivers)(
    'on %s: twenty times prefetchBytes, compressed to almost nothing, arrive in parts, whole and in order',
    async (driver, { expect }) => {
      setFlagsFromString('--expose-gc')
      const collect = runInNewContext('gc') as () => void
      const transport = attachedOn(driver)
      const topic = await freshTopic(transport, 8)
      const send = await sender()
      for (const partition of range(8))
        await send(
          topic,
          partition,
          range(12).map((n) => Buffer.alloc(MB / 10, String.fromCharCode(65 + n))),
          CODECS.gzip,
        )
      collect()
      const before = process.memoryUsage().arrayBuffers
      const recorder = Recorder.keeping()
      await subscribe(transport, topic, recorder, { partitions: 8, prefetch: 100, prefetchBytes: MB / 2 })
      await until('the first are there', () => recorder.got.length >= 5)
      // From now on it holds the fetched messages until some are settled.
      await systemClock.sleep(1_000)
      // A garbage collection shows in the counters a moment later; memory in use stays, however often the test checks.
      await until('it holds less than half of what there is', () => {
        collect()
        return process.memoryUsage().arrayBuffers - before < 4 * MB
      })
      expect(recorder.got.length).toBeLessThanOrEqual(6)
      recorder.onDelivery = (delivery) => delivery.ack()
      for (const delivery of recorder.got) delivery.ack()
      await until('all came', () => recorder.got.length === 96, 60_000)
      for (const partition of range(8)) {
        const mine = recorder.got.filter(({ position }) => position.startsWith(`partition ${partition} `))
        expect(mine.map(({ message }) => String.fromCharCode(message.body?.[0] ?? 0)).join('')).toBe('ABCDEFGHIJKL')
      }
    },
  )
})
