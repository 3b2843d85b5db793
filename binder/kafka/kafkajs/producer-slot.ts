import type { Clock } from '../../../core/clock.ts'
import { ended } from '../../transport/kit/deadline.ts'
import { DeadlineExceeded, IDLE_MS, within } from '../deadline.ts'
import type { Envelope, Producer } from '../driver.ts'
import { COMPRESSION_TYPES } from '../wire/codecs.ts'
import { byTopic } from '../wire/split-produce-requests.ts'
import type { KafkaProducer } from './client-types.ts'
import { codecOf } from './codecs.ts'
import { connectWithin } from './connect-timeout.ts'
import { toTransportError } from './errors.ts'
import type { KafkaOptions } from './options.ts'
import { createPartitioner } from './partitioner.ts'
import { writeBatchesOf } from './patches/batch-writer.ts'
import { withClusters } from './patches/clusters.ts'
import { atNextSeed } from './patches/next-seed.ts'

const CLOSE_MS = 5_000
/** Maximum of the protocol. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1

interface Slot {
  readonly producer: Promise<KafkaProducer>
  open: boolean
}

/**
 * The idempotent producer in use. A send that fails costs the producer: kafkajs winds the sequence numbers of the whole
 * request back, also of partitions that the broker has accepted, and the broker would take the next records under those
 * numbers for duplicates and drop them while confirming. A new producer has a new identity and starts at zero.
 */
export class ProducerSlot implements Producer {
  readonly #options: KafkaOptions
  readonly #clock: Clock
  #current: Slot | undefined
  /** When the last send was confirmed, monotonic. */
  #usedAt = 0
  #closing: Promise<void> = Promise.resolve()

  constructor(options: KafkaOptions, clock: Clock) {
    this.#options = options
    this.#clock = clock
  }

  /**
   * Makes one produce request, retried by kafkajs at its discretion within `durationMs`. Resolves with those that the broker did not confirm.
   * After a rejection nothing more of it is sent, but requests on the wire may still arrive.
   * @throws TransportError
   */
  async send(envelopes: readonly Envelope[], durationMs: number): Promise<readonly Envelope[]> {
    const now = this.#clock.monotonic()
    const until = now + durationMs
    if (this.#current !== undefined && now - this.#usedAt >= IDLE_MS) this.#discard(this.#current)
    this.#current ??= this.#open()
    const slot = this.#current
    try {
      const producer = await within(this.#clock, durationMs, 'connecting', slot.producer)
      const timeout = Math.max(1, until - this.#clock.monotonic())
      const sending = producer.sendBatch({
        acks: -1,
        timeout: Math.min(Math.ceil(timeout), LONGEST_TIMEOUT_MS),
        compression: COMPRESSION_TYPES[this.#options.compression],
        topicMessages: byTopic(envelopes),
      })
      const confirmed = await within(this.#clock, timeout, 'the broker', sending)
      this.#usedAt = this.#clock.monotonic()
      return unconfirmed(envelopes, confirmed)
    } catch (error) {
      this.#discard(slot)
      throw toTransportError(error, error instanceof DeadlineExceeded ? 'waiting for a confirm' : 'publishing')
    }
  }

  async close(): Promise<void> {
    if (this.#current !== undefined) this.#discard(this.#current)
    await ended(this.#clock, CLOSE_MS, this.#closing)
  }

  #open(): Slot {
    const slot: Slot = { open: true, producer: this.#connect(() => slot.open) }
    return slot
  }

  async #connect(isOpen: () => boolean): Promise<KafkaProducer> {
    const { kafka, compression } = this.#options
    const make = (): KafkaProducer =>
      kafka.producer({
        idempotent: true,
        allowAutoTopicCreation: false,
        createPartitioner: createPartitioner(isOpen),
        retry: { retries: Number.MAX_SAFE_INTEGER, initialRetryTime: 100, maxRetryTime: 1_000 },
      })
    const writing = { clock: this.#clock, compression, findCodec: codecOf }
    const withWriter = (): KafkaProducer => withClusters(kafka, (cluster) => writeBatchesOf(cluster, writing), make)
    const producer = atNextSeed(kafka, withWriter)
    await connectWithin(this.#clock, this.#options, producer)
    return producer
  }

  #discard(slot: Slot): void {
    slot.open = false
    if (this.#current === slot) this.#current = undefined
    const disconnect = async (): Promise<void> => {
      await (await slot.producer).disconnect()
    }
    this.#closing = Promise.allSettled([this.#closing, disconnect()]).then(() => {})
  }
}

/**
 * kafkajs resolves although it has skipped a partition whose leader moved, during a retry, to a broker that had answered
 * already: only partitions named in the answer are confirmed.
 */
function unconfirmed(
  envelopes: readonly Envelope[],
  answers: ReadonlyArray<{ readonly topicName: string; readonly partition: number; readonly errorCode: number }>,
): readonly Envelope[] {
  const confirmed = new Map<string, Set<number | undefined>>()
  for (const { topicName, partition, errorCode } of answers) {
    if (errorCode !== 0) continue
    const partitions = confirmed.get(topicName)
    if (partitions === undefined) confirmed.set(topicName, new Set([partition]))
    else partitions.add(partition)
  }
  return envelopes.filter(({ topic, place }) => confirmed.get(topic)?.has(place) !== true)
}
