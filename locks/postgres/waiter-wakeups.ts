import type { Clock } from '../../core/clock.ts'
import { storableText } from '../../core/escape-nul.ts'
import type { SqlClient, SqlListener } from '../../core/sql.ts'
import { SqlNotices } from '../../core/sql-notices.ts'
import type { StoreStatementRunner } from '../../core/store-statement-runner.ts'
import { homeOf, type LocalWakeups } from './local-wakeups.ts'

/** Less than the time after which the server considers a client dead: one heartbeat may be missed. */
const BEAT_MS = 500
const LIVE_MS = 2_000
/** First interval between questions without a listener; doubles up to `BEAT_MS`. */
const FIRST_LOOK_MS = 5

interface News {
  readonly about: string
  readonly news: 'turn' | 'given' | 'ended' | 'gone'
  readonly granted: string | null
}

/**
 * The waiters of one client: how they are woken, and how the server knows that they are alive.
 *
 * The process that created capacity wakes a waiter: directly in the same process, otherwise by `NOTIFY` on the client's own
 * channel, if there is a listener. While anyone waits, the client also sends a heartbeat every half second, whose reply reports
 * anything that it missed. Without a listener that is the only source, so it asks more often at first.
 */
export class WaiterWakeups {
  readonly home: LocalWakeups
  readonly client: string
  readonly #sql: SqlClient
  readonly #steps: StoreStatementRunner
  readonly #clock: Clock
  readonly #beatText: string
  readonly #listener: SqlListener | undefined
  readonly #notices: SqlNotices
  readonly #onUnclaimed: (value: string, key: string | undefined) => void
  readonly #waiters = new Map<string, (token?: number) => void>()
  /**
   * Values that wait, or have waited and may hold the lock, with their keys. The latter are notified if they are ended by force.
   */
  readonly #known = new Map<string, string>()
  readonly #leave: () => void
  #stopListening: (() => void) | undefined
  #beatAt = Number.NEGATIVE_INFINITY
  #pauseMs = FIRST_LOOK_MS
  #cancel: (() => void) | undefined
  #beating: Promise<void> | undefined
  /** The heartbeat after the one in progress. */
  #next: Promise<void> | undefined
  #closed = false

  /** @param onUnclaimed called for a turn that no waiter here needs: it must go to the next waiter */
  constructor(fields: {
    sql: SqlClient
    steps: StoreStatementRunner
    schema: string
    clock: Clock
    listener: SqlListener | undefined
    onUnclaimed: (value: string, key: string | undefined) => void
  }) {
    this.#sql = fields.sql
    this.#steps = fields.steps
    this.#clock = fields.clock
    this.#listener = fields.listener
    this.#notices = new SqlNotices(fields.sql)
    this.#onUnclaimed = fields.onUnclaimed
    this.#beatText = `SELECT about, news, granted::text AS granted
      FROM ${fields.schema}.lock_beat($1, $2, $3::int, $4::bigint, $5::text[], $6::text[])`
    this.home = homeOf(fields.sql)
    const { client, leave } = this.home.join((value, token) => this.#tell(value, token))
    this.client = client
    this.#leave = leave
  }

  /** Resolves when the server considers the client alive. */
  async listen(value: string, onTurn: (token?: number) => void): Promise<() => void> {
    this.#waiters.set(value, onTurn)
    try {
      await this.#beLive()
    } catch (error) {
      this.#waiters.delete(value)
      throw error
    }
    return () => void this.#waiters.delete(value)
  }

  /** The value is in the queue: its turn may come from now on. Within one process all are notified directly. */
  placed(key: string, value: string): void {
    if (this.#sql.exclusive !== undefined || !this.#waiters.has(value)) return
    if (!this.#known.has(value)) this.#pauseMs = FIRST_LOOK_MS
    this.#known.set(value, key)
    this.#schedule()
  }

  /** The value has ended: later turns do not concern it. */
  forget(value: string): void {
    this.#known.delete(value)
    if (this.#known.size === 0) this.#rest()
  }

  /** Wakes the waiter returned by a step, in the format of the functions: `<value>` or `<value>=<token>`. */
  wake(named: string | null): void {
    if (named === null) return
    const [value = '', token] = named.split('=')
    const [client = ''] = value.split('.', 1)
    if (this.home.tell(client, value, token === undefined ? undefined : Number(token))) return
    if (this.#sql.exclusive === undefined) this.#notices.send(channelOf(client), named)
  }

  close(): void {
    this.#closed = true
    this.#leave()
    this.#stopListening?.()
    this.#notices.close()
    this.#waiters.clear()
    this.#known.clear()
    this.#rest()
  }

  /** Within one process, no report is needed. */
  async #beLive(): Promise<void> {
    if (this.#sql.exclusive !== undefined) return
    this.#stopListening ??= this.#listener?.listen(channelOf(this.client), (payload) => this.#onNotice(payload))
    // The report in progress may suffice, or one that another waiter has sent after it.
    if (!this.#isLive()) await this.#beating?.catch(() => {})
    if (!this.#isLive()) await (this.#beating ?? this.#beat())
  }

  #isLive(): boolean {
    return this.#clock.monotonic() - this.#beatAt < BEAT_MS
  }

  #onNotice(payload: string): void {
    // The connection came back: messages were lost.
    if (payload === '') return this.#look()
    const [value = '', token] = payload.split('=')
    this.#tell(value, token === undefined ? undefined : Number(token))
  }

  #tell(value: string, token: number | undefined): void {
    const onTurn = this.#waiters.get(value)
    if (onTurn !== undefined) onTurn(token)
    // With a token there is nothing to do: the waiter left and releases the lock itself, or it already holds it.
    else if (token === undefined) this.#onUnclaimed(value, this.#known.get(value))
  }

  #schedule(): void {
    if (this.#cancel !== undefined || this.#beating !== undefined || this.#closed || this.#known.size === 0) return
    const pauseMs = this.#listener === undefined && this.#waiters.size > 0 ? this.#pauseMs : BEAT_MS
    this.#pauseMs = Math.min(2 * this.#pauseMs, BEAT_MS)
    this.#cancel = this.#clock.setTimer(pauseMs, () => {
      this.#cancel = undefined
      this.#look()
    })
  }

  #rest(): void {
    this.#cancel?.()
    this.#cancel = undefined
  }

  #look(): void {
    this.#beat().catch(() => {})
  }

  /** Sends a report after the call. One is in progress at a time: callers during it share the next. */
  #beat(): Promise<void> {
    if (this.#beating === undefined) return this.#sendBeat()
    this.#next ??= this.#beating
      .catch(() => {})
      .then(() => {
        this.#next = undefined
        return this.#beating ?? this.#sendBeat()
      })
    return this.#next
  }

  async #sendBeat(): Promise<void> {
    if (this.#closed) return
    this.#beating = this.#beatOnce()
    try {
      await this.#beating
    } finally {
      this.#beating = undefined
      this.#schedule()
    }
  }

  async #beatOnce(): Promise<void> {
    const sentAt = this.#clock.monotonic()
    const asked = [...this.#known]
    const rows = await this.#steps.run<News>(this.#beatText, [
      this.client,
      this.#listener !== undefined,
      this.#listener?.backend,
      String(LIVE_MS),
      asked.map(([, key]) => storableText(key)),
      asked.map(([value]) => value),
    ])
    this.#beatAt = sentAt
    for (const { about, news, granted } of rows) {
      if (this.#waiters.has(about)) this.#tell(about, granted === null ? undefined : Number(granted))
      else if (news === 'ended') this.#onUnclaimed(about, undefined)
      else if (news === 'gone') this.#known.delete(about)
    }
  }
}

function channelOf(client: string): string {
  return `concordat_lock_${client}`
}
