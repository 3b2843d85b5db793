import { MINUTE } from '../../core/clock.ts'
import { toError } from '../../core/errors.ts'
import { epochMs } from '../../core/sql.ts'
import { sqlStateOf } from '../../core/sql-unavailable.ts'
import type { LogContext } from './context.ts'
import { sweep } from './delete-settled-positions.ts'
import type { StatementTerms } from './statement-runner.ts'

/** Maximum number of unsettled messages in a segment to free: carrying more over would cost more than the space. */
const MOST_CARRIED = 50_000
/** First pause before another try at a segment that failed or is in use; it doubles up to the usual interval. */
const AGAIN_MS = 250

const UPKEEP: StatementTerms = { isUpkeep: true }

/** Outcome for one segment. `inUse`: the error, if there was one. */
type Freed = 'freed' | 'kept' | { readonly inUse: unknown }

/** Another session still writes or reads there (a dump does). */
const IN_USE = 'another transaction reads them'
/** The lock was not free in time. */
const LOCKED = '55P03'

interface Holder {
  readonly destination: string
  readonly name: string
  readonly messages: string
  readonly bytes: string
  /** Epoch ms. */
  readonly since: number | null
}

/** Closes the segment being written, and frees those that all groups have read. A slow group costs disk space, never delivery. */
export class SegmentRotation {
  readonly #context: LogContext
  #cancel: (() => void) | undefined
  #turning: Promise<void> | undefined
  #kept: string | undefined
  #isTold = false
  #closed = false
  /** Time until the next check, if it is to be sooner than usual. */
  #againMs: number | undefined

  constructor(context: LogContext) {
    this.#context = context
  }

  /** Reason why the log cannot be freed, for display; `undefined` without one. */
  get kept(): string | undefined {
    return this.#kept
  }

  start(): void {
    if (this.#closed || this.#cancel !== undefined || this.#turning !== undefined) return
    const { host } = this.#context
    this.#cancel = host.clock.setTimer(Math.min(this.#usualMs, this.#againMs ?? MINUTE), () => {
      this.#cancel = undefined
      this.#turning = this.turn()
        .catch((err: unknown) => host.logger.debug({ err }, 'could not look who keeps the log'))
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
    const outcomes = await this.#freeAll()
    const inUse = outcomes.find((outcome) => typeof outcome === 'object')
    this.#againMs = inUse === undefined ? undefined : 2 * (this.#againMs ?? AGAIN_MS / 2)
    if (outcomes.includes('kept')) await this.#tellGroups()
    // A short use or a temporary refusal is not reported.
    else if (inUse !== undefined && (this.#againMs ?? 0) > this.#usualMs) this.#tell(whyInUse(inUse.inUse))
    else if (inUse === undefined) {
      this.#kept = undefined
      this.#isTold = false
    }
  }

  async #freeAll(): Promise<readonly Freed[]> {
    const { database, tables, options } = this.#context
    const outcomes: Freed[] = []
    try {
      const { rows } = await database.query<{ segment: number }>(
        'rotate the log',
        `SELECT segment FROM ${tables.rotate}($1::bigint, $2::bigint, $3::bigint) AS r(segment)`,
        [options.segmentBytes, options.segmentMs, options.retentionMs],
        UPKEEP,
      )
      for (const { segment } of rows) if (!this.#closed) outcomes.push(await this.#free(segment))
    } catch (err) {
      outcomes.push(this.#inUse(err))
    }
    return outcomes
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
      const isFreed = await asked('free a segment', `${tables.truncate}($1::smallint)`, [segment])
      return isFreed ? 'freed' : { inUse: undefined }
    } catch (err) {
      return this.#inUse(err)
    }
  }

  /** The next check tries again. */
  #inUse(err: unknown): Freed {
    this.#context.host.logger.debug({ err }, 'segments of the log are in use, or cannot be freed')
    return { inUse: err }
  }

  async #tellGroups(): Promise<void> {
    const { database, tables } = this.#context
    const { rows } = await database.query<Holder>(
      'look who keeps the log',
      `SELECT destination, name, messages::text AS messages, bytes::text AS bytes, ${epochMs('since')} AS since FROM ${tables.holders}()`,
      [],
      UPKEEP,
    )
    const [first] = rows
    if (first === undefined)
      return this.#tell(`closed segments of the log cannot be freed: ${IN_USE}, or a channel keeps them longer`)
    const groups = rows
      .map(({ destination, name, messages }) => `"${name}" of "${destination}" (${messages})`)
      .join(', ')
    const kept = `the log keeps ${first.bytes} bytes since ${dateOf(first.since)} for groups that are behind: ${groups}`
    this.#tell(kept, { groups: rows, remedy: '. Start its readers, or forgetGroup() it.' })
  }

  #tell(
    kept: string,
    { groups, remedy = '' }: { readonly groups?: readonly Holder[]; readonly remedy?: string } = {},
  ): void {
    this.#kept = kept
    if (!this.#isTold) this.#context.host.logger.warn({ groups }, `${kept}${remedy}`)
    this.#isTold = true
  }
}

/** Returns the server's error message, unless it was only busy. */
function whyInUse(error: unknown): string {
  const isBusy = error === undefined || sqlStateOf(toError(error).cause) === LOCKED
  return `closed segments of the log cannot be freed: ${isBusy ? IN_USE : toError(error).message}`
}

function dateOf(since: number | null): string {
  return since === null ? 'a while' : new Date(since).toISOString()
}
