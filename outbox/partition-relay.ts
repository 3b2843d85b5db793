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

/** A window that takes longer ends after its round; what is left of its lanes is carried into the next one. */
const WINDOW_MS = 50

/** Windows that are far from full start no closer to each other than this, */
const GATHER_MS = 5

/** and a relay whose windows take long rests as long as it worked, at most this long: then fewer of them carry as much. */
const MOST_REST_MS = 20

/** A destination whose broker takes longer to confirm holds up no other: its call is waited for beside the windows. */
const PATIENCE_MS = 2 * SECOND

/**
 * The relay of one partition under one lease: fetch a window, publish it, delete what was confirmed; one window at a
 * time, so that a message leaves only after all before it in its lane were confirmed. Ends when stopped or when the
 * lease is lost, at the end of a window; when it leaves, after the calls that have no answer yet.
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
  /** Fetched and not tried yet; their lanes are left out of the next fetch. */
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

  /** Why nothing moves, while nothing does. */
  get error(): Error | undefined {
    return this.#pauses.error ?? this.#away.error ?? this.#settling.refused
  }

  wake(): void {
    this.#gate.wake()
  }

  /**
   * Ends this relay when the broker has answered its open calls. Until then it sends what goes to other destinations, since no other relay
   * can take the partition before. Resolves when it has ended. Idempotent.
   */
  leave(): Promise<void> {
    this.#leaving.abort()
    this.#gate.wake()
    return this.#ended
  }

  /** Asks it to end. Resolves when the window and the calls in flight are settled. Idempotent. */
  stop(): Promise<void> {
    this.#stopping.abort()
    return this.leave()
  }

  /** The part of the partition that the idle look reads; `undefined` when a window must come first. */
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

  /** Sends a last window: rows that were added right before the stop would wait for the next relay. */
  async #last(): Promise<void> {
    if (!this.lease.isValid() || this.error !== undefined) return
    try {
      await this.#window(() => this.lease.isValid())
    } catch (error) {
      this.#context.options.logger.debug({ err: error }, 'outbox relay leaves the rest to the next one')
    }
  }

  /** After a small window, lets more rows come together: a window of one costs the database as much as one of a hundred. */
  async #gather(rows: number, elapsedMs: number): Promise<void> {
    this.#gate.reset()
    if (rows >= this.#context.options.batchSize / 2) return
    const restMs = Math.max(GATHER_MS - elapsedMs, Math.min(elapsedMs, MOST_REST_MS))
    await this.#context.options.clock.sleep(restMs, this.#stopping.signal).catch(() => undefined)
  }

  /** @returns how many rows it found */
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

  /** @returns `undefined` when the broker takes longer to answer: then it is waited for beside the windows */
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

  /** Rows of one destination: to the broker, or into the log that is in this database. Never rejects. */
  #send(rows: readonly WindowRow[]): Promise<readonly PublishOutcome[]> {
    const [first] = rows as readonly [WindowRow]
    const { logOf, publisher } = this.#context
    const log = logOf(first.message.destination)
    if (log !== undefined) return this.#table.move(rows, log)
    return publisher.publish(rows.map((row) => row.message))
  }

  /** Settles rows of one destination that were published beside the windows. */
  async #answered(rows: readonly WindowRow[], outcomes: readonly PublishOutcome[], lagMs: number): Promise<Trial> {
    const failed = rows.flatMap((row, i) => (outcomes[i] === undefined ? [] : [{ row, error: outcomes[i] }]))
    const result = { confirmed: rows.filter((_, i) => outcomes[i] === undefined), failed, rest: [] }
    const outages = outagesOf(result)
    await this.#settling.settle(result, outages)
    this.#context.onWindow(result, lagMs)
    const [outage] = outages.values()
    return outage === undefined ? { is: 'back' } : { is: 'away', error: outage }
  }

  /** Tries one row of an unavailable destination. Nothing else of that destination is under way. */
  async #try(destination: string): Promise<Trial> {
    const { rows, lagMs } = await this.#table.first(destination)
    if (!this.lease.isValid()) return { is: 'away', error: new Error('the lease of the partition is in doubt') }
    // Nothing to try: what comes next, or cannot be read, is for the windows.
    if (rows.length === 0) return { is: 'back' }
    return this.#answered(rows, await this.#send(rows), lagMs)
  }
}

/** Destinations to which nothing got through, and not because of the messages: wait for the broker, and blame no message. */
function outagesOf({ confirmed, failed }: WindowResult): ReadonlyMap<string, Error> {
  const outages = new Map<string, Error>()
  for (const { row, error } of failed) {
    if (judge(error) === 'outage') outages.set(row.message.destination, error)
  }
  for (const { message } of confirmed) outages.delete(message.destination)
  return outages
}
