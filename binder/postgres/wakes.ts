import { debouncedNotify, notifyChannelOf } from '../../core/debounced-sql-notify.ts'
import { IdleBackoff } from '../../core/idle-backoff.ts'
import type { SqlClient } from '../../core/sql.ts'
import type { LogContext } from './context.ts'
import type { LogSubscription } from './subscription.ts'
import { failure, isWithoutTables, LOG_MADE_AGAIN } from './transport-errors.ts'

export interface WakeEvents {
  /** Members of a group joined or left. */
  onMembers(): void
  /** A message is due after this time, or was made due now. */
  onDelayed(durationMs: number): void
}

/** Transports of this process in one database notify each other without the server. */
const neighbours = new WeakMap<SqlClient, Map<string, Set<Wakes>>>()

/**
 * Wakes readers: from this process at once, from others by `NOTIFY` if there is a listener, and always by polling, with growing
 * pauses.
 */
export class Wakes {
  readonly #context: LogContext
  readonly #subscriptions: ReadonlySet<LogSubscription>
  readonly #events: WakeEvents
  readonly #gate: IdleBackoff
  readonly #notify: ((items: Iterable<string>) => void) | undefined
  readonly #stopListening: (() => void) | undefined
  #isLooking = false
  #closed = false

  constructor(context: LogContext, subscriptions: ReadonlySet<LogSubscription>, events: WakeEvents) {
    const { options, host } = context
    this.#context = context
    this.#subscriptions = subscriptions
    this.#events = events
    this.#gate = new IdleBackoff(host.clock, options.pollMs)
    const channel = notifyChannelOf('transport', options.schema)
    if (options.notifyEveryMs > 0)
      this.#notify = debouncedNotify(options.sql, channel, options.notifyEveryMs, host.clock)
    this.#stopListening = options.listener?.listen(channel, (payload) => this.#heard(payload))
    this.#neighbours().add(this)
  }

  /** Notifies of partitions with new messages, committed by this process. */
  wrote(parts: ReadonlySet<number>): void {
    for (const each of this.#neighbours()) each.#wake(parts)
    this.#notify?.([...parts].map(String))
  }

  /** Polls soon: of two simultaneous readers one assigns positions, and the other may have read before. */
  soon(): void {
    this.#gate.soon()
  }

  /** Notifies of messages that will become visible at an unknown time; readers poll soon. */
  wroteSoon(parts: ReadonlySet<number>): void {
    for (const each of this.#neighbours()) each.#gate.wake()
    this.#notify?.(Array.from(parts, (part) => `s${part}`))
  }

  /** Notifies that a group has gained or lost a member, or has a partition to take. */
  moved(group: number): void {
    for (const each of this.#neighbours()) if (each !== this) each.#events.onMembers()
    this.#notify?.([`g${group}`])
  }

  /** Notifies of a message that is not due yet. */
  delayed(durationMs: number): void {
    for (const each of this.#neighbours()) each.#events.onDelayed(durationMs)
  }

  /** Starts to poll. */
  start(): void {
    this.#gate.wake()
    if (this.#isLooking) return
    this.#isLooking = true
    void this.#look()
  }

  close(): void {
    this.#closed = true
    this.#neighbours().delete(this)
    this.#stopListening?.()
    this.#gate.wake()
  }

  #neighbours(): Set<Wakes> {
    const { sql, schema } = this.#context.options
    let schemas = neighbours.get(sql)
    if (schemas === undefined) neighbours.set(sql, (schemas = new Map()))
    let all = schemas.get(schema)
    if (all === undefined) schemas.set(schema, (all = new Set()))
    return all
  }

  #wake(parts: ReadonlySet<number> | undefined): void {
    for (const subscription of this.#subscriptions) subscription.wake(parts)
  }

  /**
   * Payloads: `3,17`: partitions with committed messages; `s3`: with messages that may be committed soon; `g5`: a group; empty:
   * check everything.
   */
  #heard(payload: string): void {
    const items = payload === '' ? [] : payload.split(',')
    if (items.length === 0 || items.some((item) => item.startsWith('g'))) this.#events.onMembers()
    const parts = items.filter((item) => /^\d+$/.test(item)).map(Number)
    if (items.length === 0) this.#wake(undefined)
    else if (parts.length > 0) this.#wake(new Set(parts))
    if (parts.length < items.length || items.length === 0) this.#gate.soon()
  }

  async #look(): Promise<void> {
    while (!this.#closed) {
      await this.#gate.wait()
      if (this.#closed) return
      const places = [...this.#subscriptions].flatMap((each) => each.idlePlaces())
      if (places.length === 0) continue
      const { database, tables } = this.#context
      try {
        await this.#lookForLog()
        const { rows } = await database.query<{ part: number }>(
          'look for messages',
          `SELECT part FROM ${tables.pending}($1::int[], $2::bigint[]) AS p(part)`,
          [places.map(({ part }) => part), places.map(({ from }) => from)],
        )
        if (rows.length === 0) continue
        this.#gate.reset()
        this.#wake(new Set(rows.map(({ part }) => part)))
      } catch {
        // Health reports it, and readers get the error.
      }
    }
  }

  /** Ends subscriptions without a group whose log is gone, because they have no position to lose. @throws TransportError */
  async #lookForLog(): Promise<void> {
    const { database, tables } = this.#context
    const readers = [...this.#subscriptions].filter(({ group }) => group === undefined)
    if (readers.length === 0) return
    const asked = database.query<{ log: string }>(
      'look for the log',
      `SELECT tableoid::text AS log FROM ${tables.ring}`,
    )
    const { rows } = await asked.catch((error: unknown) => {
      if (isWithoutTables(error)) return { rows: [] }
      throw error
    })
    for (const reader of readers) if (reader.log !== rows[0]?.log) reader.lost(failure('unavailable', LOG_MADE_AGAIN))
  }
}
