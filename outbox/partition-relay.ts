import type { PublishOutcome } from '../binder/transport/transport.ts'
import { SECOND } from '../core/clock.ts'
import { toError } from '../core/errors.ts'
import { turnsOf } from '../core/event-loop-turns.ts'
import { within } from '../core/time-limit.ts'
import type { IdlePlace, LeasedPartition } from './idle-partition-polling.ts'
import type { HeldLease } from './lease.ts'
import { OutagePauses } from './outage-pauses.ts'
import type { PartitionQueries } from './partition-queries.ts'
import type { PartitionContext } from './partition-relay-context.ts'
import { bodyBytes, carryOver, judge, publishWindow, type WindowResult, type WindowRow } from './publish-window.ts'
import { RowSettlement } from './row-settlement.ts'
import { ScanStart } from './scan-start.ts'
import { UnansweredRows } from './unanswered-rows.ts'
import { type Trial, UnavailableDestinations } from './unavailable-destinations.ts'

/** A window that takes longer ends after the current round; the rest of its lanes is carried into the next window. */
const WINDOW_MS = 50

/** Minimum time between the starts of windows that are far from full. */
const GATHER_MS = 5

/**
 * A relay whose windows take long pauses as long as it worked, up to this limit, so that fewer windows carry the same number of
 * rows.
 */
const MOST_REST_MS = 20

/** A destination whose broker takes longer to confirm does not delay the others: its call is awaited while other windows run. */
const PATIENCE_MS = 2 * SECOND

/**
 * The relay of one partition under one lease. It fetches a window, publishes it and deletes the confirmed rows, one window at a
 * time, so that a message is sent only after all earlier messages of its lane were confirmed. Ends at the end of a window if
 * stopped or if the lease is lost; `leave` also waits for the calls without a response.
 */
export class PartitionRelay {
  readonly lease: HeldLease
  readonly #table: PartitionQueries
  readonly #context: PartitionContext
  readonly #gate: IdlePlace
  readonly #leaving = new AbortController()
  readonly #stopping = new AbortController()
  readonly #ended: Promise<void>
  #hasEnded = false
  /** Rows that were fetched but not tried yet; their lanes are left out of the next fetch. */
  #carried: readonly WindowRow[] = []
  readonly #away: UnavailableDestinations
  readonly #start: ScanStart
  readonly #pauses: OutagePauses
  readonly #settling: RowSettlement
  readonly #unanswered: UnansweredRows

  constructor(context: PartitionContext) {
    const { lease, table, options, look } = context
    this.lease = lease
    this.#table = table
    this.#context = context
    this.#pauses = new OutagePauses(context, this.#stopping.signal)
    this.#settling = new RowSettlement(context, this.#pauses)
    this.#unanswered = new UnansweredRows(options)
    this.#start = new ScanStart(options.clock, (scan) => table.pass(scan))
    this.#gate = look.place(() => this.#place)
    this.#away = new UnavailableDestinations(lease.partition, options, {
      leaving: this.#leaving.signal,
      try: (destination) => this.#try(destination),
      onBack: () => this.#gate.wake(),
    })
    this.#ended = this.#run()
      .then(() => this.#away.ended())
      .finally(() => {
        this.#hasEnded = true
      })
  }

  get hasEnded(): boolean {
    return this.#hasEnded
  }

  /** The error that stops everything at the moment, if any. */
  get error(): Error | undefined {
    return this.#pauses.error ?? this.#away.error ?? this.#settling.refused
  }

  wake(): void {
    this.#gate.wake()
  }

  /**
   * Ends this relay when the broker has responded to its open calls. Until then it sends messages to other destinations, because
   * no other relay can claim the partition earlier. Resolves when it has ended. Idempotent.
   */
  leave(): Promise<void> {
    this.#leaving.abort()
    this.#gate.wake()
    return this.#ended
  }

  /** Requests the end. Resolves when the window and the calls in flight are settled. Idempotent. */
  stop(): Promise<void> {
    this.#stopping.abort()
    return this.leave()
  }

  /** The part of the partition that idle polling reads; `undefined` if a window must run first. */
  get #place(): LeasedPartition | undefined {
    const away = this.#away.names
    if (!this.lease.isValid() || this.#start.isDue(away)) return undefined
    return { lease: this.lease, ...this.#start.known(away) }
  }

  get #goesOn(): boolean {
    return this.#pauses.goesOn && (!this.#leaving.signal.aborted || this.#away.isTrying)
  }

  async #run(): Promise<void> {
    const { clock } = this.#context.options
    while (this.#goesOn) {
      await turnsOf(clock).give()
      const since = clock.monotonic()
      try {
        const rows = this.lease.isValid() ? await this.#window() : 0
        if (rows > 0) await this.#gather(rows, clock.monotonic() - since)
        else if (this.#goesOn) await this.#gate.wait()
      } catch (error) {
        await this.#pauses.pause(toError(error))
      }
    }
    await this.#last()
  }

  /** Sends a last window: rows added just before the stop would otherwise wait for the next relay. */
  async #last(): Promise<void> {
    if (!this.lease.isValid() || this.error !== undefined) return
    try {
      await this.#window(() => this.lease.isValid())
    } catch (error) {
      this.#context.options.logger.debug({ err: error }, 'outbox relay leaves the rest to the next one')
    }
  }

  /** After a small window, waits for more rows: a window of one row costs the database as much as a window of a hundred. */
  async #gather(rows: number, elapsedMs: number): Promise<void> {
    this.#gate.reset()
    if (rows >= this.#context.options.batchSize / 2) return
    const restMs = Math.max(GATHER_MS - elapsedMs, Math.min(elapsedMs, MOST_REST_MS))
    await this.#context.options.clock.sleep(restMs, this.#stopping.signal).catch(() => undefined)
  }

  /** @returns the number of rows found */
  async #window(mayGoOn = () => this.#goesOn && this.lease.isValid()): Promise<number> {
    const { batchSize, batchBytes, clock } = this.#context.options
    const carried = this.#carried
    const bytes = carried.reduce((sum, row) => sum + bodyBytes(row), 0)
    const scan = await this.#start.find(this.#away.names)
    const found = await this.#table.fetch(batchSize - carried.length, batchBytes - bytes, carried, scan)
    const { lagMs, unreadable } = found
    const rows = [...carried, ...found.rows]
    if (unreadable.length > 0) await this.#settling.park(unreadable)
    if (rows.length === 0) {
      this.#pauses.over()
      return unreadable.length
    }
    this.#carried = []
    const due = clock.monotonic() + WINDOW_MS
    const result = await publishWindow(
      rows,
      (sent) => this.#publish(sent, lagMs),
      mayGoOn,
      () => clock.monotonic() >= due,
    )
    const outages = outagesOf(result)
    await this.#settling.settle(result, outages)
    this.#context.onWindow(result, lagMs)
    for (const [destination, error] of outages) this.#away.add(destination, error)
    const isAway = (row: WindowRow): boolean => outages.has(row.message.destination)
    this.#carried = carryOver(
      result.rest.filter((row) => !isAway(row)),
      batchSize,
      batchBytes,
    )
    this.#pauses.over()
    return rows.length
  }

  /** @returns `undefined` if the broker takes longer to respond; the call is then awaited while other windows run */
  async #publish(rows: readonly WindowRow[], lagMs: number): Promise<readonly PublishOutcome[] | undefined> {
    const { clock } = this.#context.options
    const since = clock.monotonic()
    const call = this.#send(rows)
    const outcomes = await within(clock, PATIENCE_MS, call, undefined)
    if (outcomes !== undefined) return outcomes
    if (!this.#unanswered.add(rows)) return call
    const [first] = rows as readonly [WindowRow]
    const answered = call.then((answers) => {
      this.#unanswered.remove(rows)
      return this.#answered(rows, answers, lagMs + clock.monotonic() - since)
    })
    this.#away.addUnanswered(first.message.destination, answered)
    return undefined
  }

  /** Sends rows of one destination to the broker or into the log in this database. Never rejects. */
  #send(rows: readonly WindowRow[]): Promise<readonly PublishOutcome[]> {
    const [first] = rows as readonly [WindowRow]
    const { logOf, publisher } = this.#context
    const log = logOf(first.message.destination)
    if (log !== undefined) return this.#table.move(rows, log)
    return publisher.publish(rows.map((row) => row.message))
  }

  /** Settles rows of one destination whose call was awaited beside other windows. */
  async #answered(rows: readonly WindowRow[], outcomes: readonly PublishOutcome[], lagMs: number): Promise<Trial> {
    const failed = rows.flatMap((row, i) => (outcomes[i] === undefined ? [] : [{ row, error: outcomes[i] }]))
    const result = { confirmed: rows.filter((_, i) => outcomes[i] === undefined), failed, rest: [] }
    const outages = outagesOf(result)
    await this.#settling.settle(result, outages)
    this.#context.onWindow(result, lagMs)
    const [outage] = outages.values()
    return outage === undefined ? { is: 'back' } : { is: 'away', error: outage }
  }

  /** Tries one row of an unavailable destination. Nothing else of that destination is in progress. */
  async #try(destination: string): Promise<Trial> {
    const { rows, lagMs } = await this.#table.first(destination)
    if (!this.lease.isValid()) return { is: 'away', error: new Error('the lease of the partition is in doubt') }
    // Nothing to try: rows that come next, or cannot be read, are handled by the windows.
    if (rows.length === 0) return { is: 'back' }
    return this.#answered(rows, await this.#send(rows), lagMs)
  }
}

/**
 * Destinations to which nothing was published, for reasons other than the messages: wait for the broker, and do not count it
 * against any message.
 */
function outagesOf({ confirmed, failed }: WindowResult): ReadonlyMap<string, Error> {
  const outages = new Map<string, Error>()
  for (const { row, error } of failed) {
    if (judge(error) === 'outage') outages.set(row.message.destination, error)
  }
  for (const { message } of confirmed) outages.delete(message.destination)
  return outages
}
