import { type Clock, DAY } from '../../core/clock.ts'
import type { EncodedMessage } from '../channel/message.ts'
import { partitionOf } from '../channel/partition.ts'
import { partitionMismatch } from '../errors.ts'
import type { DestinationSpec } from '../transport/transport.ts'
import type { MemoryBroker, ResolvedBrokerOptions } from './broker.ts'
import { sizeOf } from './message-size.ts'
import { MemoryPartition } from './partition.ts'

/** Longer timers are set again: a wall clock may be put right, and Node takes at most 24 days. */
const MAX_TIMER_MS = DAY

export class Broker implements MemoryBroker {
  readonly options: ResolvedBrokerOptions
  readonly #destinations: Map<string, Destination> = new Map()
  readonly #connections: Set<{ cut(): void }> = new Set()
  #reachable = true
  /** Messages that wait to be due. */
  #delayed = 0
  /** Subscriptions that hold messages. */
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
   * Appends it once it is due by the sender's clock, whatever has become of the sender.
   * @returns false when too much waits already
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

  /** A subscription holds messages now, or no longer. Whatever they wait for, they are not lost with the process. */
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
    // A single timer: this may be called for each message.
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

  /** Unsettled messages of the group. A group that does not exist yet would get all stored messages. */
  lag(group: string): number {
    return this.partitions.reduce((sum, partition) => sum + partition.lag(group), 0)
  }

  /** Where it goes. */
  partitionFor({ key }: EncodedMessage): MemoryPartition {
    const count = this.partitions.length
    const index = key === null ? this.#roundRobin++ % count : partitionOf(key, count)
    return this.partitions[index] as MemoryPartition
  }

  /** @returns false when no more may wait to be due */
  holdsBack(message: EncodedMessage): boolean {
    const { maxBacklog, maxBacklogBytes } = this.#options
    const times = this.partitions.length
    if (this.#delayed >= times * maxBacklog || this.#delayedBytes >= times * maxBacklogBytes) return false
    this.#delayed++
    this.#delayedBytes += sizeOf(message)
    return true
  }

  /** Appends a held-back message; it was accepted, so it enters however full the partition is. */
  appendDue(message: EncodedMessage): void {
    this.#delayed--
    this.#delayedBytes -= sizeOf(message)
    const partition = this.partitionFor(message)
    partition.append(message)
    partition.pump()
  }
}
