/**
 * Polls the idle partitions of a relay with one statement.
 *
 * Each has its own pauses, 5 ms and doubled, which begin again when it is woken or had messages. A poll happens when the first of
 * them ends, and includes every partition that is idle at that moment, so there are never more polls than the partition with the
 * shortest pauses needs.
 */
import { MINUTE } from '../core/clock.ts'
import { toError } from '../core/errors.ts'
import type { SqlClient } from '../core/sql.ts'
import type { UnansweredCalls } from '../core/unanswered-calls.ts'
import type { HeldLease } from './lease.ts'
import type { ResolvedRelayOptions } from './relay-options.ts'
import type { Scan } from './scan-start.ts'
import type { OutboxTables } from './tables.ts'

/** A partition to poll, under its lease. */
export interface LeasedPartition extends Scan {
  readonly lease: HeldLease
}

interface IdleLookOptions extends Pick<ResolvedRelayOptions, 'clock' | 'idlePollMs' | 'listenedPollMs'> {
  readonly sql: SqlClient
  readonly tables: OutboxTables
  /** Records every poll. */
  readonly silence: UnansweredCalls
  /** Tells whether notifications arrive now. */
  isListening(): boolean
  /** Called after each poll. */
  onLook(error: Error | undefined): void
}

const FIRST_PAUSE_MS = 5

/**
 * How long all partitions must have been idle before notifications are relied on, because one may come before its commit, or not
 * at all.
 */
const QUIET_MS = 1 * MINUTE

export class IdlePartitionPolling {
  readonly #options: IdleLookOptions
  readonly #waiting = new Set<IdlePlace>()
  #cancelTimer: (() => void) | undefined
  #looking: Promise<void> | undefined
  #quietAt = Number.POSITIVE_INFINITY

  constructor(options: IdleLookOptions) {
    this.#options = options
  }

  /**
   * @param place returns the place to poll now, `undefined` when its worker must continue first, for example because its lease is
   * in doubt
   */
  place(place: () => LeasedPartition | undefined): IdlePlace {
    return new IdlePlace(this, place)
  }

  /** Resolves when no poll is running. */
  async ended(): Promise<void> {
    await this.#looking
  }

  /** The place has nothing to do, so it takes part in the polls. */
  enter(place: IdlePlace): void {
    this.#quietAt = this.#now + QUIET_MS
    place.begin(this.#now, this.#longestMs)
    this.#waiting.add(place)
    this.#plan()
  }

  leave(place: IdlePlace): void {
    this.#waiting.delete(place)
  }

  get #now(): number {
    return this.#options.clock.monotonic()
  }

  get #longestMs(): number {
    const { idlePollMs, listenedPollMs } = this.#options
    return this.#options.isListening() && this.#now >= this.#quietAt ? listenedPollMs : idlePollMs
  }

  #plan(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    if (this.#looking !== undefined || this.#waiting.size === 0) return
    const at = this.#nextAt
    this.#cancelTimer = this.#options.clock.setTimer(at - this.#now, () => this.#begin(at))
  }

  get #nextAt(): number {
    return Math.min(...Array.from(this.#waiting, ({ lookAt }) => lookAt))
  }

  /** @param at the scheduled time, because a timer may fire a little too early */
  #begin(at: number): void {
    // A place whose pause has ended may have been woken since.
    if (this.#nextAt > at) return this.#plan()
    this.#looking = this.#look(Math.max(at, this.#now)).finally(() => {
      this.#looking = undefined
      this.#plan()
    })
  }

  /** Never rejects. */
  async #look(startedAt: number): Promise<void> {
    const looked = (waiting: IdlePlace, dueMs?: number | null): void =>
      waiting.looked(startedAt, this.#now, this.#longestMs, dueMs ?? Number.POSITIVE_INFINITY)
    const places = new Map<number, readonly [IdlePlace, LeasedPartition]>()
    for (const waiting of this.#waiting) {
      const place = waiting.now
      if (place !== undefined) places.set(place.lease.partition, [waiting, place])
      else {
        looked(waiting)
        waiting.letGo()
      }
    }
    if (places.size === 0) return
    try {
      const rows = await this.#pending(Array.from(places.values(), ([, place]) => place))
      this.#options.onLook(undefined)
      for (const { partition, isPending, dueMs } of rows) {
        const waiting = places.get(partition)?.[0]
        if (waiting === undefined || !this.#waiting.has(waiting)) continue
        if (isPending) waiting.wake()
        else looked(waiting, dueMs)
      }
    } catch (error) {
      this.#options.onLook(toError(error))
      for (const [waiting] of places.values()) looked(waiting)
    }
  }

  /** Returns for each place whether there are messages to send, and in how many ms the next held-back row is due. */
  async #pending(places: readonly LeasedPartition[]): Promise<readonly PendingRow[]> {
    const { sql, tables, silence } = this.#options
    const looked = sql.query<PendingRow>(
      `SELECT p.partition, EXISTS (
           SELECT 1 FROM ${tables.window}(p.partition, p.owner, p.epoch, 1, '{}', '{}',
             ARRAY(SELECT jsonb_array_elements_text(p.away)), p.after, p.after_id, NULL)
         ) AS "isPending", (
           SELECT extract(epoch FROM min(next_attempt_at) - clock_timestamp())::float8 * 1000 FROM ${tables.outbox} o
           WHERE o.partition = p.partition AND next_attempt_at > now() AND next_attempt_at < 'infinity'
         ) AS "dueMs"
       FROM jsonb_to_recordset($1::jsonb) AS p(partition int, owner text, epoch bigint, away jsonb, after bigint, after_id text)`,
      [
        JSON.stringify(
          places.map(({ lease: { partition, owner, epoch }, away, after }) => ({
            partition,
            owner,
            epoch,
            away,
            after: after?.seq,
            after_id: after?.id,
          })),
        ),
      ],
    )
    const { rows } = await silence.track(looked, 'look for messages in the outbox')
    return rows
  }
}

interface PendingRow {
  readonly partition: number
  readonly isPending: boolean
  readonly dueMs: number | null
}

/** The worker of one partition waits here while it finds nothing. */
export class IdlePlace {
  readonly #look: Pick<IdlePartitionPolling, 'enter' | 'leave'>
  readonly #place: () => LeasedPartition | undefined
  #pauseMs = FIRST_PAUSE_MS
  #lookAt = 0
  #woken = false
  #letGo: (() => void) | undefined

  constructor(look: Pick<IdlePartitionPolling, 'enter' | 'leave'>, place: () => LeasedPartition | undefined) {
    this.#look = look
    this.#place = place
  }

  /** The place to check now. */
  get now(): LeasedPartition | undefined {
    return this.#place()
  }

  /** Monotonic time at which its pause ends. */
  get lookAt(): number {
    return this.#lookAt
  }

  /**
   * There may be messages, so `wait` returns. The pauses after it are short, because the notification may come before its commit.
   */
  wake(): void {
    this.#woken = true
    this.letGo()
  }

  /** There were messages: the next pauses are short. */
  reset(): void {
    this.#pauseMs = FIRST_PAUSE_MS
  }

  /** Returns at once when woken since the last call. */
  async wait(): Promise<void> {
    if (!this.#woken) {
      await new Promise<void>((resolve) => {
        this.#letGo = resolve
        this.#look.enter(this)
      })
    }
    if (this.#woken) this.reset()
    this.#woken = false
  }

  /** Ends `wait`. */
  letGo(): void {
    this.#look.leave(this)
    this.#letGo?.()
    this.#letGo = undefined
  }

  /** The first pause begins. */
  begin(now: number, longestMs: number): void {
    this.#lookAt = now + Math.min(this.#pauseMs, longestMs)
  }

  /** There was nothing: the next pause is longer, or the same again when this one had not ended. */
  looked(startedAt: number, now: number, longestMs: number, dueMs: number): void {
    if (this.#lookAt <= startedAt) this.#pauseMs = Math.min(this.#pauseMs * 2, longestMs)
    this.#lookAt = now + Math.min(this.#pauseMs, longestMs, Math.max(1, dueMs))
  }
}
