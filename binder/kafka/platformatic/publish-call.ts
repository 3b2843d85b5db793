import { type Clock, SECOND } from '../../../core/clock.ts'
import { DeadlineExceeded } from '../deadline.ts'
import type { Envelope } from '../driver.ts'
import { hasType } from '../errors.ts'
import { ConnectFailed, isUnreachable } from './errors.ts'
import { type Cluster, isPassing, RETRY } from './network/cluster.ts'
import type { TopicMetadata } from './protocol/cluster.ts'
import { KafkaRefusal } from './protocol/errors.ts'
import { type ProduceAnswer, type ProducedBatch, produce } from './protocol/produce.ts'

/** The broker already has these records. */
const DUPLICATE = 'DUPLICATE_SEQUENCE_NUMBER'
const UNKNOWN_TOPIC = 'UNKNOWN_TOPIC_OR_PARTITION'
/** A new topic may not be known to every broker yet. */
const UNKNOWN_TOPIC_MS = 2 * SECOND
/** The broker does not know the producer, or has other sequence numbers: a new identity is needed. */
const OUT_OF_STEP = new Set([
  'OUT_OF_ORDER_SEQUENCE_NUMBER',
  'UNKNOWN_PRODUCER_ID',
  'INVALID_PRODUCER_EPOCH',
  'INVALID_PRODUCER_ID_MAPPING',
])
/** Refused for now, before anything was written. */
const AGAIN = new Set(['NOT_ENOUGH_REPLICAS', 'CORRUPT_MESSAGE', 'THROTTLING_QUOTA_EXCEEDED'])
/** Written, but not to all required replicas, or unknown. */
const UNKNOWN = new Set([
  'REQUEST_TIMED_OUT',
  'NOT_ENOUGH_REPLICAS_AFTER_APPEND',
  'NETWORK_EXCEPTION',
  'UNKNOWN_SERVER_ERROR',
])

/** The records of one partition being sent; every attempt has the same bytes and the same sequence numbers. */
export interface Parcel extends ProducedBatch {
  readonly envelopes: readonly Envelope[]
  readonly sequence: number
}

type OnConfirmed = (parcel: Parcel) => void

export interface SendingParts {
  readonly cluster: Cluster
  readonly clock: Clock
  readonly requestTimeoutMs: number
}

/** A list of records until each is confirmed or refused, or the time limit passes. */
export class PublishCall {
  readonly #cluster: Cluster
  readonly #clock: Clock
  readonly #requestTimeoutMs: number
  readonly #durationMs: number
  readonly #until: number
  readonly #isClosed: () => boolean
  readonly #confirmed = new Set<Parcel>()
  readonly #refused = new Map<Parcel, Error>()
  /** Parcels that may have arrived. */
  readonly #unknown = new Set<Parcel>()
  readonly #outOfStep = new Set<Parcel>()
  #missingSince: number | undefined
  #last: unknown

  constructor({ cluster, clock, requestTimeoutMs }: SendingParts, durationMs: number, isClosed: () => boolean) {
    this.#cluster = cluster
    this.#clock = clock
    this.#requestTimeoutMs = requestTimeoutMs
    this.#durationMs = durationMs
    this.#until = clock.monotonic() + durationMs
    this.#isClosed = isClosed
  }

  /** True if the used sequence numbers are no longer conclusive. */
  get endsSession(): boolean {
    return this.#unknown.size > 0 || this.#outOfStep.size > 0
  }

  /** @throws KafkaRefusal when the topic does not exist after a while */
  topic(name: string): Promise<TopicMetadata> {
    return this.prepare(() => this.#cluster.topic(name))
  }

  /** Runs work before anything was sent: temporary errors are retried, a failed connection is left to the caller to retry. */
  async prepare<T>(work: () => Promise<T>): Promise<T> {
    for (let pauseMs: number = RETRY.firstMs; ; pauseMs = Math.min(2 * pauseMs, RETRY.longestMs)) {
      this.#requireTime()
      try {
        return await work()
      } catch (error) {
        if (!this.#mayPass(error)) throw error
        this.#last = error
        await this.#clock.sleep(Math.min(pauseMs, Math.max(0, this.#until - this.#clock.monotonic())))
      }
    }
  }

  /** Resolves with the unconfirmed records. @throws the reason when none was confirmed */
  async run(parcels: readonly Parcel[], onConfirmed: OnConfirmed): Promise<readonly Envelope[]> {
    try {
      let left = parcels
      for (let pauseMs: number = RETRY.firstMs; ; pauseMs = Math.min(2 * pauseMs, RETRY.longestMs)) {
        await this.#attempt(left, onConfirmed)
        left = left.filter((each) => !this.#isDecided(each))
        if (left.length === 0) break
        if (this.#confirmed.size === 0 && this.#unknown.size === 0 && isUnreachable(this.#last)) throw this.#last
        await this.#clock.sleep(Math.min(pauseMs, Math.max(0, this.#until - this.#clock.monotonic())))
        this.#requireTime()
        for (const { topic } of left) this.#cluster.forgetTopic(topic)
      }
      if (this.#outOfStep.size > 0) await this.#clock.sleep(RETRY.firstMs)
    } catch (error) {
      if (this.#confirmed.size === 0) throw error
    }
    const [refusal] = this.#refused.values()
    if (refusal !== undefined && this.#confirmed.size === 0 && this.#refused.size === parcels.length) throw refusal
    return parcels.filter((each) => !this.#confirmed.has(each)).flatMap(({ envelopes }) => envelopes)
  }

  #isDecided(parcel: Parcel): boolean {
    return this.#confirmed.has(parcel) || this.#refused.has(parcel) || this.#outOfStep.has(parcel)
  }

  async #attempt(parcels: readonly Parcel[], onConfirmed: OnConfirmed): Promise<void> {
    const byLeader = new Map<number, Parcel[]>()
    for (const parcel of parcels) {
      const leader = await this.#leaderOf(parcel)
      if (leader === undefined) continue
      const known = byLeader.get(leader)
      if (known === undefined) byLeader.set(leader, [parcel])
      else known.push(parcel)
    }
    await Promise.all(Array.from(byLeader, ([leader, each]) => this.#request(leader, each, onConfirmed)))
  }

  async #leaderOf({ topic, partition }: Parcel): Promise<number | undefined> {
    try {
      const { partitions } = await this.#cluster.topic(topic)
      const leader = partitions.find((each) => each.partition === partition)?.leader ?? -1
      if (leader >= 0) return leader
      this.#last = new KafkaRefusal('LEADER_NOT_AVAILABLE', `partition ${partition} of "${topic}" has no leader`)
    } catch (error) {
      if (!this.#mayPass(error) && !isUnreachable(error)) throw error
      this.#last = error
    }
    return undefined
  }

  async #request(leader: number, parcels: readonly Parcel[], onConfirmed: OnConfirmed): Promise<void> {
    const timeoutMs = Math.max(1, Math.min(this.#requestTimeoutMs, this.#until - this.#clock.monotonic()))
    try {
      const answers = await this.#cluster.call(leader, produce(parcels, Math.ceil(timeoutMs)), 'main', timeoutMs)
      for (const parcel of parcels) this.#judge(parcel, answerFor(parcel, answers), onConfirmed)
    } catch (error) {
      this.#last = error
      if (error instanceof ConnectFailed || error instanceof KafkaRefusal) return
      for (const parcel of parcels) this.#unknown.add(parcel)
    }
  }

  #judge(parcel: Parcel, answer: ProduceAnswer | undefined, onConfirmed: OnConfirmed): void {
    const { error: type, detail } = answer ?? { error: 'NETWORK_EXCEPTION', detail: 'it was not in the answer' }
    if (type === undefined || type === DUPLICATE) {
      this.#unknown.delete(parcel)
      this.#confirmed.add(parcel)
      onConfirmed(parcel)
      return
    }
    const { topic, partition } = parcel
    const refusal = new KafkaRefusal(type, `partition ${partition} of "${topic}" did not take the records`, {
      topic,
      detail,
    })
    this.#last = refusal
    if (OUT_OF_STEP.has(type)) this.#outOfStep.add(parcel)
    // A former leader may answer this about records that it wrote, and that other replicas have: their numbers must not be used
    // again.
    else if (UNKNOWN.has(type) || this.#mayPass(refusal)) this.#unknown.add(parcel)
    else if (!AGAIN.has(type)) this.#refused.set(parcel, refusal)
  }

  #mayPass(error: unknown): boolean {
    if (hasType(error, UNKNOWN_TOPIC)) {
      this.#missingSince ??= this.#clock.monotonic()
      return this.#clock.monotonic() - this.#missingSince < UNKNOWN_TOPIC_MS
    }
    return error instanceof KafkaRefusal && isPassing(error.type)
  }

  #requireTime(): void {
    if (this.#isClosed()) throw new Error('the producer was closed')
    if (this.#clock.monotonic() < this.#until) return
    if (this.#unknown.size === 0 && this.#last instanceof Error) throw this.#last
    const late = new DeadlineExceeded(`the broker did not confirm within ${Math.round(this.#durationMs)} ms`)
    throw Object.assign(late, { cause: this.#last })
  }
}

function answerFor({ topic, partition }: Parcel, answers: readonly ProduceAnswer[]): ProduceAnswer | undefined {
  return answers.find((answer) => answer.topic === topic && answer.partition === partition)
}
