import type { Clock } from '../../../core/clock.ts'
import { ended } from '../../transport/kit/deadline.ts'
import { DeadlineExceeded, IDLE_MS, within } from '../deadline.ts'
import type { Envelope, Producer } from '../driver.ts'
import { COMPRESSION_TYPES } from '../wire/compression-codecs.ts'
import type { KafkaProducer } from './client-types.ts'
import { codecOf } from './codecs.ts'
import { connectWithin } from './connect-timeout.ts'
import { toTransportError } from './errors.ts'
import type { KafkaOptions } from './options.ts'
import { createPartitioner } from './partitioner.ts'
import { writeBatchesOf } from './patches/batch-writer.ts'
import { interceptClusters } from './patches/intercept-clusters.ts'
import { atNextSeed } from './patches/next-seed.ts'

const CLOSE_MS = 5_000
/** Maximum of the protocol. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1

interface Slot {
  readonly producer: Promise<KafkaProducer>
  /** Topics to which kafkajs must no longer send. */
  readonly abandoned: Set<string>
  /** Number of running sends. */
  users: number
  retired: boolean
}

/**
 * The idempotent producer in use. A failed send costs the producer: kafkajs resets the sequence numbers of the whole request,
 * including partitions that the broker has accepted, and the broker would take the next records under those numbers for
 * duplicates and drop them while confirming. A new producer has a new identity and starts at zero. Sends to other topics that are
 * running on the old one end there.
 */
export class ProducerSlot implements Producer {
  /** In one request for all topics, a refused topic would fail the accepted ones, which would be sent again. */
  readonly joinsTopics = false
  readonly #options: KafkaOptions
  readonly #clock: Clock
  /** Producers that are connected or connecting. */
  readonly #slots = new Set<Slot>()
  #current: Slot | undefined
  #closed = false
  /** Monotonic time at which the producer in use was opened or confirmed a send. */
  #usedAt = 0
  #closing: Promise<void> = Promise.resolve()

  constructor(options: KafkaOptions, clock: Clock) {
    this.#options = options
    this.#clock = clock
  }

  /**
   * Sends the records of one topic, retried by kafkajs at its discretion within `durationMs`. Resolves with the records that the
   * broker did not confirm. After that nothing more of it is sent, but requests in flight may still arrive.
   * @throws TransportError
   */
  async send(
    envelopes: readonly Envelope[],
    durationMs: number,
    onConfirmed: (envelope: Envelope) => void = () => {},
  ): Promise<readonly Envelope[]> {
    const [first] = envelopes
    if (first === undefined) return []
    const { topic } = first
    const until = this.#clock.monotonic() + durationMs
    const slot = this.#use()
    slot.users++
    try {
      const producer = await within(this.#clock, durationMs, 'connecting', slot.producer)
      const timeout = Math.max(1, until - this.#clock.monotonic())
      const sending = producer.sendBatch({
        acks: -1,
        timeout: Math.min(Math.ceil(timeout), LONGEST_TIMEOUT_MS),
        compression: COMPRESSION_TYPES[this.#options.compression],
        topicMessages: [{ topic, messages: [...envelopes] }],
      })
      const isConfirmed = confirmedBy(await within(this.#clock, timeout, 'the broker', sending))
      this.#usedAt = this.#clock.monotonic()
      for (const envelope of envelopes) if (isConfirmed(envelope)) onConfirmed(envelope)
      return envelopes.filter((envelope) => !isConfirmed(envelope))
    } catch (error) {
      slot.abandoned.add(topic)
      this.#retire(slot)
      throw toTransportError(error, error instanceof DeadlineExceeded ? 'waiting for a confirm' : 'publishing')
    } finally {
      slot.users--
      if (slot.retired && slot.users === 0) this.#disconnect(slot)
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#current = undefined
    for (const slot of this.#slots) this.#disconnect(slot)
    await ended(this.#clock, CLOSE_MS, this.#closing)
  }

  #use(): Slot {
    const now = this.#clock.monotonic()
    if (this.#current !== undefined && now - this.#usedAt >= IDLE_MS) this.#retire(this.#current)
    if (this.#current === undefined) {
      this.#current = this.#open()
      this.#usedAt = now
    }
    return this.#current
  }

  #open(): Slot {
    const abandoned = new Set<string>()
    const producer = this.#connect((topic) => !this.#closed && !abandoned.has(topic))
    const slot: Slot = { abandoned, users: 0, retired: false, producer }
    this.#slots.add(slot)
    return slot
  }

  async #connect(isOpen: (topic: string) => boolean): Promise<KafkaProducer> {
    const { kafka, compression } = this.#options
    const make = (): KafkaProducer =>
      kafka.producer({
        idempotent: true,
        allowAutoTopicCreation: false,
        createPartitioner: createPartitioner(isOpen),
        retry: { retries: Number.MAX_SAFE_INTEGER, initialRetryTime: 100, maxRetryTime: 1_000 },
      })
    const writing = { clock: this.#clock, compression, findCodec: codecOf }
    const withWriter = (): KafkaProducer =>
      interceptClusters(kafka, (cluster) => writeBatchesOf(cluster, writing), make)
    const producer = atNextSeed(kafka, withWriter)
    await connectWithin(this.#clock, this.#options, producer)
    return producer
  }

  /** Starts no further send on it. */
  #retire(slot: Slot): void {
    if (this.#current === slot) this.#current = undefined
    slot.retired = true
    if (slot.users === 0) this.#disconnect(slot)
  }

  #disconnect(slot: Slot): void {
    if (!this.#slots.delete(slot)) return
    const disconnect = async (): Promise<void> => {
      await (await slot.producer).disconnect()
    }
    this.#closing = Promise.allSettled([this.#closing, disconnect()]).then(() => {})
  }
}

/**
 * kafkajs resolves even after it has skipped a partition whose leader moved, during a retry, to a broker that had already
 * answered: only partitions named in the answer are confirmed.
 */
function confirmedBy(
  answers: ReadonlyArray<{ readonly partition: number; readonly errorCode: number }>,
): (envelope: Envelope) => boolean {
  const taken = answers.flatMap(({ partition, errorCode }) => (errorCode === 0 ? [partition] : []))
  const partitions = new Set<number | undefined>(taken)
  return ({ place }) => partitions.has(place)
}
