import type { Clock } from '../../../core/clock.ts'
import type { AssignedPartition } from '../group/assigned-partition.ts'
import type { KafkaConsumer } from './client-types.ts'

/** Time after which a partition that waits for capacity gives way to others of the same broker. */
const PARK_AFTER_MS = 100

/**
 * Decides which partitions are fetched. kafkajs fetches all partitions of a broker at once, and again only after each batch was
 * taken, so a partition whose batch waits for capacity would delay the others. One that waits long while another could continue
 * is parked: its batch is left (it will be fetched again) and its fetching paused until there is capacity.
 *
 * kafkajs keeps one pause state per topic, and `pause` of a single partition undoes `pause` of all, so this class alone sets it.
 */
export class FetchGate {
  readonly #consumer: KafkaConsumer
  readonly #topic: string
  readonly #clock: Clock
  readonly #prefetch: number
  readonly #waiters = new Map<AssignedPartition, (mayTake: boolean) => void>()
  readonly #parked = new Set<AssignedPartition>()
  /** Partitions that cannot be read for now. */
  readonly #blocked = new Set<number>()
  #paused = false
  /** True if kafkajs was told to pause something. */
  #hasPaused = false

  constructor(consumer: KafkaConsumer, topic: string, clock: Clock, prefetch: number) {
    this.#consumer = consumer
    this.#topic = topic
    this.#clock = clock
    this.#prefetch = prefetch
  }

  /** Resolves with true when the partition may take its batch, with false when the batch is to be left. */
  room(assigned: AssignedPartition, partitions: number): Promise<boolean> {
    if (assigned.hasRoom(this.#prefetch)) return Promise.resolve(true)
    const waiting = Promise.withResolvers<boolean>()
    let cancel = this.#clock.setTimer(PARK_AFTER_MS, () => check())
    const check = (): void => {
      if (this.#waiters.size < partitions) this.#park(assigned)
      else cancel = this.#clock.setTimer(PARK_AFTER_MS, check)
    }
    this.#waiters.set(assigned, (mayTake) => {
      cancel()
      this.#waiters.delete(assigned)
      waiting.resolve(mayTake)
    })
    return waiting.promise
  }

  /** Called when a message was settled: admits partitions that have capacity now. */
  refresh(): void {
    if (this.#waiters.size === 0 && this.#parked.size === 0) return
    for (const [assigned, done] of this.#waiters) if (assigned.hasRoom(this.#prefetch)) done(true)
    let changed = false
    for (const assigned of this.#parked) {
      if (assigned.hasRoom(this.#prefetch)) changed = this.#parked.delete(assigned)
    }
    if (changed) this.apply()
  }

  /** Leaves all waiting batches and forgets parked partitions, for a new assignment or the end. */
  reset(): void {
    this.leaveAll()
    this.#parked.clear()
    this.#blocked.clear()
  }

  /** Stops fetching a partition until `unblock`. */
  block(partition: number): void {
    if (!this.#blocked.has(partition)) {
      this.#blocked.add(partition)
      this.apply()
    }
  }

  isBlocked(partition: number): boolean {
    return this.#blocked.has(partition)
  }

  unblock(partition: number): void {
    if (this.#blocked.delete(partition)) this.apply()
  }

  leaveAll(): void {
    for (const done of this.#waiters.values()) done(false)
  }

  get isPaused(): boolean {
    return this.#paused
  }

  setPaused(paused: boolean): void {
    this.#paused = paused
    if (paused) this.leaveAll()
    this.apply()
  }

  /** Sets the whole state in kafkajs. Harmless before it runs and after it stopped. */
  apply(): void {
    const topic = this.#topic
    try {
      // Only on changes, because kafkajs logs each call.
      if (this.#hasPaused) this.#consumer.resume([{ topic }])
      const partitions = [...this.#blocked, ...[...this.#parked].map((assigned) => assigned.partition)]
      this.#hasPaused = this.#paused || partitions.length > 0
      if (this.#paused) this.#consumer.pause([{ topic }])
      else if (partitions.length > 0) this.#consumer.pause([{ topic, partitions }])
    } catch {
      // Not running: the next assignment applies it.
    }
  }

  #park(assigned: AssignedPartition): void {
    this.#parked.add(assigned)
    this.apply()
    this.#waiters.get(assigned)?.(false)
  }
}
