/** Members of the rebalance protocol that came with Kafka 4 (KIP-848) and ours, which speak the classic one, in one group. */
import { Consumer, type MessagesStream, stringDeserializers } from '@platformatic/kafka'
import { silentLogger, systemClock } from 'concordat/core'
import type { Transport } from 'concordat/extension'
import { describe, it, onTestFinished, type TestContext } from 'vitest'
import { withDeadline } from '../../support/deadline.ts'
import { kafkajsOn, platformaticOn } from '../../support/kafka-driver.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { freshTopic, KEYS, numbered, Recorder, range, subscribe } from './kit.ts'

const url = (): string => serverUrl('kafka') as string
const CONSUMER_GROUP_HEARTBEAT = 68

function opened(transport: Transport): Transport {
  transport.attach({ service: 'mixed', instance: 'mixed-1', logger: silentLogger, clock: systemClock })
  onTestFinished(() => transport.close())
  return withDeadline(transport, 10_000, systemClock)
}

/** Group member of another program, which commits its messages a tenth of a second after it reads them. */
class Foreign {
  readonly numbers: number[] = []
  readonly #consumer: Consumer<string, string, string, string>
  #stream: MessagesStream<string, string, string, string> | undefined

  constructor(groupId: string) {
    this.#consumer = new Consumer({
      clientId: 'foreign',
      bootstrapBrokers: [url()],
      groupId,
      groupProtocol: 'consumer',
      deserializers: stringDeserializers,
    })
    onTestFinished(() => this.leave())
  }

  /** Kafka 3 has the protocol switched off. */
  async requireProtocol({ skip }: TestContext): Promise<void> {
    const apis = await this.#consumer.listApis()
    skip(!apis.some(({ apiKey }) => apiKey === CONSUMER_GROUP_HEARTBEAT), 'this broker has no new rebalance protocol')
  }

  async join(topic: string): Promise<void> {
    const stream = await this.#consumer.consume({
      topics: [topic],
      mode: 'committed',
      fallbackMode: 'earliest',
      autocommit: 100,
    })
    stream.on('data', ({ value }) => void this.numbers.push(Number(value)))
    stream.on('error', () => {})
    this.#stream = stream
  }

  async leave(): Promise<void> {
    await this.#stream?.close()
    this.#stream = undefined
    await this.#consumer.close(true)
  }
}

describeWith(['kafka'], 'a group with a member of the new rebalance protocol', () => {
  describe.for([
    ['kafkajs', kafkajsOn],
    ['platformatic', platformaticOn],
  ] as const)('on %s', ([, on]) => {
    it.for(['the foreign one', 'ours'] as const)(
      'shares all messages, none twice here, and gives all to us when the other has left; first member: %s',
      async (first, context) => {
        const transport = opened(on(url()))
        const topic = await freshTopic(transport)
        const [foreign, recorder] = [new Foreign(`g.${topic}`), new Recorder()]
        await foreign.requireProtocol(context)
        let sent = 0
        // Messages that the other member has read and not yet committed when its partition moves arrive here as well.
        const all = (): Set<number> => new Set([...foreign.numbers, ...recorder.numbers])
        const send = async (count: number): Promise<void> => {
          context
            .expect(await transport.publish(numbered(topic, count, KEYS, sent)))
            .toEqual(range(count).map(() => undefined))
          sent += count
          await until('they came', () => all().size >= sent)
        }
        const join = { ours: () => subscribe(transport, topic, recorder), 'the foreign one': () => foreign.join(topic) }
        await join[first]()
        await send(100)
        await join[first === 'ours' ? 'the foreign one' : 'ours']()
        await until('both have a share', async () => {
          const [theirs, mine] = [foreign.numbers.length, recorder.got.length]
          await send(8)
          return foreign.numbers.length > theirs && recorder.got.length > mine
        })
        await send(100)
        await foreign.leave()
        await send(100)
        context.expect(recorder.numbers).toEqual(context.expect.arrayContaining(range(sent).slice(-100)))
        context.expect(recorder.losses).toEqual([])
        context.expect(recorder.numbers).toHaveLength(new Set(recorder.numbers).size)
        context.expect(all()).toEqual(new Set(range(sent)))
      },
    )
  })
})
