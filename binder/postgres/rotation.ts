import { MINUTE } from '../../core/clock.ts'
import type { LogContext } from './context.ts'
import { sweep } from './delete-settled-positions.ts'
import type { StatementTerms } from './statement-runner.ts'

/** A segment that holds more unsettled messages is kept: carrying them over would cost more than the room. */
const MOST_CARRIED = 50_000
/** A segment in use is tried again after this time, then after twice as long, up to the usual interval. */
const AGAIN_MS = 250

const UPKEEP: StatementTerms = { isUpkeep: true }

type Freed = 'freed' | 'kept' | 'in use'

interface Holder {
  readonly destination: string
  readonly name: string
  readonly messages: string
  readonly bytes: string
  readonly since: Date | string | null
}

/** Closes the segment that is written, and frees those that all groups have behind them. A slow group costs disk, never delivery. */
export class Rotation {
  readonly #context: LogContext
  #cancel: (() => void) | undefined
  #turning: Promise<void> | undefined
  #kept: string | undefined
  #isTold = false
  #closed = false
  /** Until the next look, where that is to come sooner than usual. */
  #againMs: number | undefined

  constructor(context: LogContext) {
    this.#context = context
  }

  /** Reason for which the log cannot be freed, for people; `undefined` without one. */
  get kept(): string | undefined {
    return this.#kept
  }

  start(): void {
    if (this.#closed || this.#cancel !== undefined || this.#turning !== undefined) return
    const { host } = this.#context
    this.#cancel = host.clock.setTimer(Math.min(this.#usualMs, this.#againMs ?? MINUTE), () => {
      this.#cancel = undefined
      this.#turning = this.turn()
        .catch((err: unknown) => host.logger.debug({ err }, 'could not free segments of the log'))
        .finally(() => {
          this.#turning = undefined
          this.start()
        })
    })
  }

  get #usualMs(): number {
    return Math.min(MINUTE, this.#context.options.segmentMs)
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#cancel?.()
    await this.#turning
  }

  /** Checks once. @throws TransportError */
  async turn(): Promise<void> {
    const { database, tables, options } = this.#context
    const { rows } = await database.query<{ segment: number }>(
      'rotate the log',
      `SELECT segment FROM ${tables.rotate}($1::bigint, $2::bigint, $3::bigint) AS r(segment)`,
      [options.segmentBytes, options.segmentMs, options.retentionMs],
      UPKEEP,
    )
    const outcomes = new Set<Freed>()
    for (const { segment } of rows) {
      if (this.#closed) return
      outcomes.add(await this.#free(segment))
    }
    const isInUse = outcomes.has('in use')
    this.#againMs = isInUse ? 2 * (this.#againMs ?? AGAIN_MS / 2) : undefined
    // A short use is no news.
    await this.#tell(outcomes.has('kept') || (isInUse && (this.#againMs ?? 0) > this.#usualMs))
  }

  async #free(segment: number): Promise<Freed> {
    const { database, tables } = this.#context
    const asked = async (what: string, text: string, parameters: readonly unknown[]): Promise<boolean> => {
      const { rows } = await database.query<{ done: boolean }>(what, `SELECT ${text} AS done`, parameters, UPKEEP)
      return rows[0]?.done === true
    }
    try {
      await sweep({ database, tables, isOver: () => this.#closed }, segment)
      if (!(await asked('clear a segment', `${tables.clear}($1::smallint, $2)`, [segment, MOST_CARRIED]))) return 'kept'
      return (await asked('free a segment', `${tables.truncate}($1::smallint)`, [segment])) ? 'freed' : 'in use'
    } catch (err) {
      // Another session still writes or reads there (a dump does): the next check tries again.
      this.#context.host.logger.debug({ err, segment }, 'a segment of the log is in use')
      return 'in use'
    }
  }

  async #tell(isAnyKept: boolean): Promise<void> {
    const { database, tables, host } = this.#context
    if (!isAnyKept) {
      this.#kept = undefined
      this.#isTold = false
      return
    }
    const { rows } = await database.query<Holder>(
      'look who keeps the log',
      `SELECT destination, name, messages::text AS messages, bytes::text AS bytes, since FROM ${tables.holders}()`,
      [],
      UPKEEP,
    )
    const [first] = rows
    this.#kept =
      first === undefined
        ? 'closed segments of the log cannot be freed: another transaction reads them, or a channel keeps them longer'
        : `the log keeps ${first.bytes} bytes since ${dateOf(first.since)} for groups that are behind: ` +
          rows.map(({ destination, name, messages }) => `"${name}" of "${destination}" (${messages})`).join(', ')
    if (!this.#isTold) host.logger.warn({ groups: rows }, `${this.#kept}. Start its readers, or forgetGroup() it.`)
    this.#isTold = true
  }
}

function dateOf(since: Date | string | null): string {
  return since === null ? 'a while' : new Date(since).toISOString()
}
