import type { Clock } from '../../core/clock.ts'
import { toError } from '../../core/errors.ts'
import { ended } from '../transport/kit/deadline.ts'
import { Lending } from '../transport/kit/lending.ts'
import type { Receiver, Subscription, SubscriptionSpec } from '../transport/transport.ts'
import type { ClaimedPartition, Fetched } from './claimed-partition.ts'
import { HeldPartition } from './held-partition.ts'
import { messageOf, type ReadRow } from './message-row.ts'
import { CLOSE_MS } from './options.ts'
import type { ReadResult, Source } from './partition-sources.ts'
import { isFenced } from './transport-errors.ts'

/** Maximum number of messages per fetch, with the lowest cost for each. */
const MAX_FETCH = 500

/** Destination and group that it reads. */
export interface LogPlace {
  /** Number of the group in the tables; `undefined` without one. */
  readonly id: number | undefined
  /** See `KnownDestination.log`. */
  readonly log: string
}

export interface LogSubscriptionHost {
  readonly clock: Clock
  readonly commitIntervalMs: number
  readonly rebalanceTimeoutMs: number
  /** Tells whether this process may still rely on its session; afterwards other processes have its partitions. */
  isValid(): boolean
  /** A partition was lost to another member, or undone by a crash. */
  fenced(part: number): void
  /** A partition could not be given back: the server may consider it held. */
  unsure(subscription: LogSubscription): void
  /** There may be messages that were not visible yet. */
  lookSoon(): void
  /** The subscription is closed or lost. */
  ended(subscription: LogSubscription): Promise<void>
}

/** Lends the messages of its partitions, within its window, and writes settled messages. */
export class LogSubscription implements Subscription {
  readonly spec: SubscriptionSpec
  /** Number of the group in the tables. */
  readonly group: number | undefined
  readonly log: string
  readonly #host: LogSubscriptionHost
  readonly #receiver: Receiver
  readonly #places: Map<number, HeldPartition> = new Map()
  readonly #lending: Lending<Fetched>
  #isOver = false
  #closing: Promise<void> | undefined

  constructor(spec: SubscriptionSpec, { id, log }: LogPlace, receiver: Receiver, host: LogSubscriptionHost) {
    this.spec = spec
    this.group = id
    this.log = log
    this.#receiver = receiver
    this.#host = host
    this.#lending = new Lending(spec, {
      deliver: (delivery) => receiver.deliver(delivery),
      onRoom: () => this.#pumpAll(),
      // A process that was stopped may call this before it is notified of anything.
      onLook: () => {
        if (this.#isPastSession) this.forfeit()
      },
    })
  }

  /** Its partitions, including those that it is giving back. */
  get parts(): readonly number[] {
    return [...this.#places.keys()]
  }

  /** True if it is closed, closing, or lost: it takes nothing more. */
  get isOver(): boolean {
    return this.#isOver
  }

  /** Number of partitions that it intends to keep. */
  get kept(): number {
    let kept = 0
    for (const { leaving } of this.#places.values()) if (leaving === undefined) kept++
    return kept
  }

  /** Returns the position of each partition that may be read. */
  idlePlaces(): Array<{ readonly part: number; readonly from: number }> {
    if (this.#lending.isPaused || this.#isOver) return []
    return [...this.#places.values()]
      .filter((held) => !held.isBusy && !held.mayHaveMore && held.leaving === undefined)
      .map(({ source, place }) => ({ part: source.part, from: place.next }))
  }

  hold(source: Source, place: ClaimedPartition): void {
    if (this.#isOver) {
      // Taken while it ended. Its process is alive, so no other process could take it.
      void source.give(place).catch(() => this.#host.unsure(this))
      return
    }
    const { clock, commitIntervalMs } = this.#host
    const held = new HeldPartition({
      source,
      place,
      lending: this.#lending,
      clock,
      commitIntervalMs: this.group === undefined ? undefined : commitIntervalMs,
      onFlushDue: (due) => this.#pump(due),
      onLost: (lost, reason) => this.#lostPlace(lost, reason),
    })
    this.#places.set(source.part, held)
    this.#pump(held)
  }

  /** Reads new messages. @param parts `undefined`: in all partitions */
  wake(parts: ReadonlySet<number> | undefined): void {
    for (const held of this.#places.values()) {
      if (parts !== undefined && !parts.has(held.source.part)) continue
      held.wake()
      this.#pump(held)
    }
  }

  /** Gives this many partitions back once their held messages are settled or released. */
  async giveBack(count: number): Promise<void> {
    const kept = [...this.#places.values()].filter(({ leaving }) => leaving === undefined)
    const leaving = kept.slice(kept.length - count).map((held) => {
      held.leaving = this.#leave(held)
      return held.leaving
    })
    if (leaving.length === 0) return
    this.#receiver.recall()
    await Promise.all(leaving)
  }

  pause(): void {
    this.#lending.setPaused(true)
  }

  resume(): void {
    this.#lending.setPaused(false)
    for (const held of this.#places.values()) held.mayHaveMore = true
    this.#pumpAll()
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  /** The session had ended for a while, so its partitions may belong to others, and are given back if they do not. */
  forfeit(): void {
    const reason = new Error('this process stood still for longer than leaseMs')
    for (const held of this.#places.values()) void this.#giveUp(held, reason)
  }

  /** The server is unavailable, or the session has ended. */
  lost(error: Error): void {
    if (this.#isOver) return
    this.#isOver = true
    for (const held of this.#places.values()) this.#drop(held, error)
    void this.#host.ended(this)
    this.#receiver.lost(error)
  }

  async #close(): Promise<void> {
    if (this.#isOver) return
    this.#isOver = true
    const reason = new Error('the subscription is over')
    await ended(this.#host.clock, CLOSE_MS, this.#giveAllBack(reason))
    for (const held of this.#places.values()) this.#withdraw(held, reason)
  }

  async #giveAllBack(reason: Error): Promise<void> {
    await Promise.all(
      [...this.#places.values()].map(async (held) => {
        await held.reading
        await this.#giveUp(held, reason)
      }),
    )
    await this.#host.ended(this)
  }

  /** Waits for some time until none of its messages is lent, and gives the partition back. */
  async #leave(held: HeldPartition): Promise<void> {
    const { clock, rebalanceTimeoutMs } = this.#host
    // After the recall, which releases within this turn.
    await Promise.resolve()
    if (held.loan.lent > 0) await ended(clock, rebalanceTimeoutMs, held.loan.idle())
    while (held.reading !== undefined) await held.reading
    if (this.#places.get(held.source.part) !== held) return
    await this.#giveUp(held, new Error('the partition went to another member'))
  }

  /**
   * Withdraws its lent messages and gives it back. It counts as held until that is done; otherwise it might be claimed again,
   * unsettled.
   */
  async #giveUp(held: HeldPartition, reason: Error): Promise<void> {
    held.leaving ??= Promise.resolve()
    this.#withdraw(held, reason)
    while (held.reading !== undefined) await held.reading
    held.isBusy = true
    await held.source.give(held.place).catch(() => this.#host.unsure(this))
    this.#drop(held, reason)
  }

  #drop(held: HeldPartition, reason: Error): void {
    if (this.#places.get(held.source.part) === held) this.#places.delete(held.source.part)
    held.source.leave()
    this.#withdraw(held, reason)
  }

  #withdraw(held: HeldPartition, reason: Error): void {
    held.cancelFlush()
    this.#lending.withdraw(held.loan, reason)
  }

  #isHeld(held: HeldPartition): boolean {
    return !this.#isOver && this.#places.get(held.source.part) === held
  }

  #pumpAll(): void {
    this.#handOut()
    for (const held of this.#places.values()) this.#pump(held)
  }

  #pump(held: HeldPartition): void {
    if (held.isBusy || !this.#isHeld(held)) return
    const limit = this.#fetchLimit(held)
    const writes = held.place.unwritten > 0
    if (limit === 0 && !(writes && held.flushDue)) return
    held.isBusy = true
    held.reading = this.#read(held, limit).finally(() => {
      held.isBusy = false
      held.reading = undefined
      if (this.#isHeld(held)) this.#pump(held)
    })
  }

  async #read(held: HeldPartition, limit: number): Promise<void> {
    const { place, source, wakes } = held
    const bytes = this.#fetchBytes()
    let fetched: readonly Fetched[]
    let read: ReadResult
    try {
      read = await source.read({ place, limit, bytes })
      fetched = read.rows.map((row) => this.#fetched(held, row))
    } catch (error) {
      this.#failed(held, toError(error))
      return
    }
    if (!this.#isHeld(held)) return
    if (read.wrote) held.flushed()
    if (limit === 0) return
    if (read.isBehind === true) this.#host.lookSoon()
    place.append(fetched)
    const total = fetched.reduce((sum, each) => sum + each.bytes, 0)
    const isFull = fetched.length >= limit || (fetched.length > 0 && total >= bytes)
    held.mayHaveMore = isFull || read.isPart === true || held.wakes !== wakes
    this.#handOut()
  }

  #fetched({ source, place }: HeldPartition, row: ReadRow): Fetched {
    const { destination } = this.spec
    const message = messageOf(destination, row, `${source.part}-${row.position}`)
    const bytes = row.body?.byteLength ?? 0
    return { position: row.position, message, bytes, redelivered: place.wasHanded(row.position) }
  }

  /** Claims it again in its current state: pending commits can no longer succeed afterwards. */
  #lostPlace(held: HeldPartition, reason: Error): void {
    this.#drop(held, reason)
    // If a crash of the server undid the last write, it is still held, and this subscription may have its share without it.
    this.#host.unsure(this)
    this.#host.fenced(held.source.part)
  }

  #failed(held: HeldPartition, error: Error): void {
    if (!this.#isHeld(held)) return
    if (isFenced(error) && this.group !== undefined) this.#lostPlace(held, error)
    else this.lost(error)
  }

  #fetchLimit({ place, mayHaveMore, leaving }: HeldPartition): number {
    const { prefetch, prefetchBytes } = this.spec
    if (this.#lending.isPaused || !mayHaveMore || leaving !== undefined || place.isFarBehind(prefetch)) return 0
    const limit = Math.min(MAX_FETCH, prefetch)
    if (place.waiting > limit / 2) return 0
    return this.#bytesHeld() < prefetchBytes || this.#bytesHeld() === 0 ? limit : 0
  }

  #fetchBytes(): number {
    const left = this.spec.prefetchBytes - this.#bytesHeld()
    return Math.max(1, Math.floor(left / Math.max(1, this.#places.size)))
  }

  #bytesHeld(): number {
    let { bytes } = this.#lending.window
    for (const { place } of this.#places.values()) bytes += place.waitingBytes
    return bytes
  }

  /** Other processes may have its partitions by now, before it was notified. */
  get #isPastSession(): boolean {
    return this.group !== undefined && !this.#isOver && !this.#host.isValid()
  }

  #handOut(): void {
    if (!this.#isOver && !this.#isPastSession) this.#lending.lend()
  }
}
