/**
 * Fetches the partitions of one term of the group: one loop a leader, with one request at a time for those of its partitions
 * that have room. What is to be left out, since it has no room or cannot be read, is simply not asked for.
 */
import type { Clock } from '../../../../core/clock.ts'
import { toError } from '../../../../core/errors.ts'
import type { FetchedBatch } from '../../driver.ts'
import type { AssignedPartition } from '../../group/assigned-partition.ts'
import type { FetchSizes } from '../../group/fetch-buffer-limits.ts'
import type { FetchBlock, FetchNews } from '../../group/stalls.ts'
import { type ReadRecords, readBatches } from '../../records/batch-reader.ts'
import { type Cluster, isPassing, RETRY } from '../network/cluster.ts'
import { KafkaRefusal } from '../protocol/errors.ts'
import { type FetchedPartition, fetch } from '../protocol/fetch.ts'
import { FirstOffsets, type ReadPosition } from './first-offsets.ts'

export interface FetcherSettings extends FetchSizes {
  readonly topic: string
  /** How many of a partition may wait to be lent. */
  readonly window: number
  readonly maxWaitMs: number
  readonly requestTimeoutMs: number
  readonly maxBatchBytes: number
}

export interface FetcherEvents {
  /** Called for each answer about a partition, before its records. */
  onNews(news: FetchNews): void
  onBatch(assigned: AssignedPartition, batch: FetchedBatch): void
  /** Nothing before `next` is for anybody. */
  onSkipped(assigned: AssignedPartition, next: number): void
  /** Called after each look for leaders: nothing of a partition without one is fetched. */
  onLeader(partition: number, isLed: boolean): void
  /** The offset no longer exists, or not yet: reading continues at the first that does. */
  onOutOfRange(partition: number, offset: number, first: number): void
  /** A broker does not know the topic, or a partition of it. */
  onUnknown(): void
  /** Asked when it is known again. False when it is another one of the same name: nothing more is fetched then. */
  isSame(): Promise<boolean>
  onAnswer(error?: unknown): void
  /** The fetcher cannot continue. */
  onLost(error: unknown): void
}

/** With partitions that have no room just now, the others are not waited for as long: they would hold these up. */
const SHORT_WAIT_MS = 25
const UNKNOWN_TOPIC = 'UNKNOWN_TOPIC_OR_PARTITION'
/** After this many tries a missing topic counts as deleted. */
const MISSING_TRIES = 20

export class Fetcher implements FetchBlock {
  readonly #cluster: Cluster
  readonly #clock: Clock
  readonly #options: FetcherSettings
  readonly #events: FetcherEvents
  readonly #firsts: FirstOffsets
  readonly #places = new Map<number, ReadPosition>()
  readonly #blocked = new Set<number>()
  readonly #loops = new Set<number>()
  #isFirst = true
  #paused = false
  #stopped = false
  #missing = 0
  #isDoubtful = false
  /** In a row. */
  #failures = 0
  #isLooking = false
  #turn = 0
  #asleep: Array<() => void> = []

  constructor(cluster: Cluster, clock: Clock, options: FetcherSettings, events: FetcherEvents) {
    this.#cluster = cluster
    this.#clock = clock
    this.#options = options
    this.#events = events
    this.#firsts = new FirstOffsets(cluster, options.topic)
  }

  /** @param positions where to begin; a partition that is not among them begins at its first record */
  start(partitions: Iterable<AssignedPartition>, positions: ReadonlyMap<number, number>): void {
    for (const assigned of partitions)
      this.#places.set(assigned.partition, { assigned, next: positions.get(assigned.partition), leader: -1 })
    if (this.#places.size > 0) void this.#findLeaders()
  }

  /** Nothing is reported after it. */
  stop(): void {
    this.#stopped = true
    this.refresh()
  }

  get isStopped(): boolean {
    return this.#stopped
  }

  setPaused(paused: boolean): void {
    this.#paused = paused
    if (!paused) this.refresh()
  }

  get isPaused(): boolean {
    return this.#paused
  }

  block(partition: number): void {
    this.#blocked.add(partition)
  }

  unblock(partition: number): void {
    if (this.#blocked.delete(partition)) this.refresh()
  }

  isBlocked(partition: number): boolean {
    return this.#blocked.has(partition)
  }

  /** There may be room. */
  refresh(): void {
    if (this.#asleep.length === 0) return
    if (!this.#stopped && ![...this.#places.values()].some((place) => this.#mayFetch(place))) return
    const asleep = this.#asleep
    this.#asleep = []
    for (const wake of asleep) wake()
  }

  #mayFetch({ assigned }: ReadPosition): boolean {
    return !this.#paused && !this.#blocked.has(assigned.partition) && assigned.hasRoom(this.#options.window)
  }

  /** Until each partition has a leader; starts the loops of those that are found. */
  async #findLeaders(): Promise<void> {
    if (this.#isLooking) return
    this.#isLooking = true
    for (let tries = 0; !this.#stopped && this.#isLooking; tries++) {
      if (tries > 0 || this.#failures > 0) await this.#pause(tries + this.#failures)
      await this.#look().catch((error: unknown) => this.#failed(error))
      this.#isLooking = [...this.#places.values()].some(({ leader }) => leader < 0)
    }
  }

  async #look(): Promise<void> {
    const { partitions } = await this.#cluster.freshTopic(this.#options.topic)
    if (this.#isDoubtful && !(await this.#events.isSame())) return this.stop()
    this.#isDoubtful = false
    for (const { partition, leader } of partitions) {
      const place = this.#places.get(partition)
      if (place !== undefined) place.leader = leader
    }
    for (const { assigned, leader } of this.#places.values()) this.#events.onLeader(assigned.partition, leader >= 0)
    this.#missing = 0
    this.#startLoops()
    // A partition may have moved to a leader whose loop sleeps.
    this.refresh()
  }

  #startLoops(): void {
    for (const { leader } of this.#places.values()) {
      if (leader < 0 || this.#loops.has(leader) || this.#stopped) continue
      this.#loops.add(leader)
      this.#loop(leader)
        .catch((error: unknown) => this.#lost(error))
        .finally(() => this.#loops.delete(leader))
    }
  }

  async #loop(leader: number): Promise<void> {
    while (!this.#stopped) {
      const led = [...this.#places.values()].filter((place) => place.leader === leader)
      if (led.length === 0) return
      const ready = led.filter((place) => this.#mayFetch(place))
      if (ready.length === 0) {
        await new Promise<void>((resolve) => this.#asleep.push(resolve))
        continue
      }
      try {
        const isStale = await this.#fetch(leader, ready, led.length > ready.length)
        this.#failures = isStale ? this.#failures + 1 : 0
        if (isStale) return this.#giveUp(led)
      } catch (error) {
        this.#failures++
        this.#failed(error)
        return this.#giveUp(led)
      }
    }
  }

  /** Another broker may lead them, or the same one over another connection: the loop ends, another one begins. */
  #giveUp(led: readonly ReadPosition[]): void {
    for (const place of led) place.leader = -1
    setImmediate(() => void this.#findLeaders())
  }

  /** Resolves true when the leaders have to be looked up again. */
  async #fetch(leader: number, ready: readonly ReadPosition[], isShort: boolean): Promise<boolean> {
    const { topic, maxBytes, maxPartitionBytes, requestTimeoutMs } = this.#options
    // The first one tells how things stand.
    const longest = isShort ? Math.min(SHORT_WAIT_MS, this.#options.maxWaitMs) : this.#options.maxWaitMs
    const maxWaitMs = this.#isFirst ? 0 : longest
    // A broker returns a batch that is larger than the limit of the first partition alone: each has its turn.
    const turn = this.#turn++ % ready.length
    const inTurn = [...ready.slice(turn), ...ready.slice(0, turn)]
    let isStale = await this.#firsts.fillIn(leader, inTurn)
    const from = new Map(
      inTurn.flatMap(({ assigned, next }) => (next === undefined ? [] : [[assigned.partition, next] as const])),
    )
    if (from.size === 0 || this.#stopped) return isStale
    const request = fetch({ topic, maxWaitMs, maxBytes, maxPartitionBytes, from })
    const answers = await this.#cluster.call(leader, request, 'fetch', maxWaitMs + requestTimeoutMs)
    this.#isFirst = false
    if (this.#stopped) return false
    this.#events.onAnswer()
    for (const answer of answers) {
      const place = this.#places.get(answer.partition)
      if (place !== undefined && (await this.#take(place, answer, from.get(answer.partition)))) isStale = true
    }
    return isStale
  }

  /**
   * Resolves true when another one leads it. When a leader moves, two of them can be asked about a partition: what does not
   * begin where reading stands by now would come twice, or skip something.
   */
  async #take(place: ReadPosition, answer: FetchedPartition, offset: number | undefined): Promise<boolean> {
    const { error, partition } = answer
    if (offset === undefined || place.next !== offset) return false
    if (error === 'OFFSET_OUT_OF_RANGE') {
      await this.#reset(place, offset)
      return false
    }
    if (error !== undefined) {
      const refusal = new KafkaRefusal(error, `partition ${partition} of "${this.#options.topic}" was not read`)
      if (!isPassing(error) && error !== UNKNOWN_TOPIC && error !== 'UNKNOWN_SERVER_ERROR') throw refusal
      if (error === UNKNOWN_TOPIC) this.#doubt()
      return true
    }
    // The partitions before it may have taken the room that all share: it will be fetched again.
    if (!this.#mayFetch(place)) return false
    const read = await readBatches(answer.records, offset, answer.aborted, this.#options)
    if (!this.#stopped && place.next === offset) this.#hand(place, offset, answer, read)
    return false
  }

  #hand(
    place: ReadPosition,
    offset: number,
    answer: FetchedPartition,
    { messages, next, unreadable }: ReadRecords,
  ): void {
    const { partition, highWatermark, lastStableOffset } = answer
    this.#events.onNews({ offset, answer: { partition, highWatermark, lastStableOffset, messages, unreadable } })
    place.next = next
    if (messages.length > 0)
      this.#events.onBatch(place.assigned, { partition, messages, fetchedOffset: offset, lastOffset: () => next - 1 })
    else if (next > offset) this.#events.onSkipped(place.assigned, next)
  }

  async #reset(place: ReadPosition, offset: number): Promise<void> {
    const { partition } = place.assigned
    const first = await this.#firsts.of(place.leader, partition)
    if (this.#stopped) return
    this.#events.onOutOfRange(partition, offset, first)
    place.next = first
  }

  #failed(error: unknown): void {
    if (this.#stopped) return
    const isMissing = error instanceof KafkaRefusal && error.type === UNKNOWN_TOPIC
    if (isMissing) this.#doubt()
    if (isMissing && ++this.#missing < MISSING_TRIES) return
    if (error instanceof KafkaRefusal && !isPassing(error.type)) this.#lost(error)
    else this.#events.onAnswer(toError(error))
  }

  #doubt(): void {
    this.#isDoubtful = true
    this.#events.onUnknown()
  }

  #lost(error: unknown): void {
    if (this.#stopped) return
    this.stop()
    this.#events.onLost(error)
  }

  async #pause(tries: number): Promise<void> {
    if (!this.#stopped) await this.#clock.sleep(Math.min(RETRY.longestMs, RETRY.firstMs * 2 ** Math.min(tries, 10)))
  }
}
