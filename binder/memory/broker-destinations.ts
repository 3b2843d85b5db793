import { type Clock, DAY } from '../../core/clock.ts'
import type { EncodedMessage } from '../channel/message.ts'
import { partitionOf } from '../channel/partition.ts'
import { partitionMismatch } from '../errors.ts'
import type { DestinationSpec } from '../transport/transport.ts'
import type { MemoryBroker, ResolvedBrokerOptions } from './broker.ts'
import { sizeOf } from './message-size.ts'
import { MemoryPartition } from './partition.ts'

/** Longer timers are set again: a wall clock may be corrected, and Node takes at most 24 days. */
const MAX_TIMER_MS = DAY

export class Broker implements MemoryBroker {
  readonly options: ResolvedBrokerOptions
  readonly #destinations: Map<string, Destination> = new Map()
  readonly #connections: Set<{ cut(): void }> = new Set()
  #reachable = true
  /** Number of messages that are not due yet. */
  #delayed = 0
  /** Number of subscriptions that hold messages. */
  #busy = 0
  #awake: NodeJS.Timeout | undefined

  constructor(options: ResolvedBrokerOptions) {
    this.options = options
  }

  get reachable(): boolean {
    return this.#reachable
  }

  interrupt(): void {
    this.#reachable = false
    for (const connection of Array.from(this.#connections)) connection.cut()
  }

  recover(): void {
    this.#reachable = true
  }

  connect(connection: { cut(): void }): () => void {
    this.#connections.add(connection)
    this.#stayAwake()
    return () => {
      this.#connections.delete(connection)
      this.#stayAwake()
    }
  }

  /** @throws TransportError `mismatch` when it exists with another number of partitions than declared */
  provision(spec: DestinationSpec): Destination {
    let destination = this.#destinations.get(spec.name)
    if (destination === undefined) {
      destination = new Destination(spec, this.options)
      this.#destinations.set(spec.name, destination)
    }
    const existing = destination.partitions.length
    if (existing !== spec.partitions && spec.assumed !== true) {
      const partitions = { existing, declared: spec.partitions }
      throw partitionMismatch('memory', spec.name, partitions, 'say the same number in every service on this broker')
    }
    for (const group of spec.groups) destination.ensureGroup(group)
    return destination
  }

  /**
   * Appends the message once it is due by the sender's clock, even if the sender has ended.
   * @returns false when too many messages wait already
   */
  appendLater(destination: Destination, message: EncodedMessage, clock: Clock): boolean {
    if (!destination.holdsBack(message)) return false
    this.#delayed++
    this.#stayAwake()
    const wait = (): void => {
      const { notBefore = 0, ...due } = message
      const leftMs = notBefore - clock.now()
      if (leftMs > 0) {
        clock.setTimer(Math.min(leftMs, MAX_TIMER_MS), wait)
        return
      }
      this.#delayed--
      this.#stayAwake()
      destination.appendDue(due)
    }
    wait()
    return true
  }

  /** Records whether a subscription holds messages, so that these are not lost because the process ends. */
  setBusy(isBusy: boolean): void {
    this.#busy += isBusy ? 1 : -1
    this.#stayAwake()
  }

  /** Keeps the process alive while messages wait and have a reader, like connections to a broker do. */
  #stayAwake(): void {
    if (this.#connections.size === 0) {
      clearInterval(this.#awake)
      this.#awake = undefined
      return
    }
    // A single timer, because this may be called for each message.
    this.#awake ??= setInterval(() => {}, MAX_TIMER_MS)
    if (this.#delayed > 0 || this.#busy > 0) this.#awake.ref()
    else this.#awake.unref()
  }

  find(name: string): Destination | undefined {
    return this.#destinations.get(name)
  }
}

export class Destination {
  readonly name: string
  readonly partitions: readonly MemoryPartition[]
  readonly #groups: Set<string> = new Set()
  readonly #options: ResolvedBrokerOptions
  #roundRobin = 0
  #delayed = 0
  #delayedBytes = 0

  constructor(spec: DestinationSpec, options: ResolvedBrokerOptions) {
    this.name = spec.name
    this.#options = options
    this.partitions = Array.from({ length: spec.partitions }, (_, index) => new MemoryPartition(index, options))
  }

  ensureGroup(group: string): void {
    if (this.#groups.has(group)) return
    this.#groups.add(group)
    for (const partition of this.partitions) partition.addGroup(group)
  }

  /** Returns the number of unsettled messages of the group. A group that does not exist yet would receive all stored messages. */
  lag(group: string): number {
    return this.partitions.reduce((sum, partition) => sum + partition.lag(group), 0)
  }

  /** Returns the partition of a message. */
  partitionFor({ key }: EncodedMessage): MemoryPartition {
    const count = this.partitions.length
    const index = key === null ? this.#roundRobin++ % count : partitionOf(key, count)
    return this.partitions[index] as MemoryPartition
  }

  /** Holds a message until it is due. @returns false when no more may wait */
  holdsBack(message: EncodedMessage): boolean {
    const { maxBacklog, maxBacklogBytes } = this.#options
    const times = this.partitions.length
    if (this.#delayed >= times * maxBacklog || this.#delayedBytes >= times * maxBacklogBytes) return false
    this.#delayed++
    this.#delayedBytes += sizeOf(message)
    return true
  }

  /** Appends a held message. It was accepted before, so the limits of the partition do not apply. */
  appendDue(message: EncodedMessage): void {
    this.#delayed--
    this.#delayedBytes -= sizeOf(message)
    const partition = this.partitionFor(message)
    partition.append(message)
    partition.pump()
  }
}
