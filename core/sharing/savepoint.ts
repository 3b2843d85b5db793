/** One piece of work within a shared transaction: statements up to a savepoint, as if the transaction were its own. */
import { hasCode } from '../errors.ts'
import { type SqlExecutor, type SqlTransaction, SqlTransactionEnded } from '../sql.ts'

const NAME = 'concordat_share'
export const TAKE = `SAVEPOINT ${NAME}`
export const KEEP = `RELEASE SAVEPOINT ${NAME}`
export const UNDO = `ROLLBACK TO SAVEPOINT ${NAME}`

/**
 * What reaches beyond a savepoint: the end of the transaction, its settings, what lives until it ends. It stands at the
 * beginning of a statement, also of a later one in the same text; `set_config` may stand anywhere.
 */
const REACHES_BEYOND =
  /(?:^|;)\s*(?:begin|commit|end|abort|rollback(?!\s+(?:work\s+|transaction\s+)?to\b)|start\s+transaction|prepare\s+transaction|set|reset|discard|lock|listen|unlisten|notify|declare|create\s+(?:(?:local|global)\s+)?temp(?:orary)?)\b|\bset_config\b|\bpg_(?:try_)?advisory_xact_lock|\bpg_notify\b/i
const COMMENTS = /\/\*[\s\S]*?\*\/|--[^\n]*/g

const KNOWN_TEXTS = 1_000
const known = new Map<string, boolean>()

function reachesBeyond(text: string): boolean {
  let reaches = known.get(text)
  if (reaches !== undefined) return reaches
  reaches = REACHES_BEYOND.test(text.replaceAll(COMMENTS, ' '))
  if (known.size >= KNOWN_TEXTS) known.clear()
  known.set(text, reaches)
  return reaches
}

/** lock_not_available, deadlock_detected, serialization_failure: others in the transaction may be the reason. */
const CONFLICTS = ['55P03', '40P01', '40001'] as const

/** Ends a piece of work that is begun again in a transaction of its own. Nobody outside gets to see it. */
export class NeedsOwnTransaction extends Error {}

/** Why a piece of work is begun again: the others were in its way, or what it does goes beyond a savepoint. */
export type Obstacle = 'conflict' | 'beyond'

export class SavepointScope {
  readonly tx: SqlTransaction
  readonly #outer: SqlTransaction
  readonly #listeners: Array<() => void> = []
  #isOpen = true
  #obstacle: Obstacle | undefined
  /** Only then can the transaction have been aborted, and the error been caught. */
  hasFailed = false
  /** A statement of it was begun. */
  hasRun = false

  constructor(outer: SqlTransaction) {
    this.#outer = outer
    const { native } = outer
    this.tx = {
      inTransaction: true,
      query: (text, parameters) => this.#run(text, () => (this.#outer as SqlExecutor).query(text, parameters)),
      ...(native !== undefined && {
        native: (text: string, statement: unknown) => this.#run(text, () => native(text, statement)),
      }),
      within: outer.within,
      ...(outer.afterCommit !== undefined && {
        afterCommit: (listener: () => void) => void this.#listeners.push(listener),
      }),
    }
  }

  get obstacle(): Obstacle | undefined {
    return this.#obstacle
  }

  /** Later statements reject. */
  close(): void {
    this.#isOpen = false
  }

  /** It commits with the transaction: so do its listeners. */
  join(): void {
    for (const listener of this.#listeners) this.#outer.afterCommit?.(listener)
  }

  async #run<T>(text: string, statement: () => Promise<T>): Promise<T> {
    if (!this.#isOpen) throw new SqlTransactionEnded()
    if (this.#obstacle === 'beyond' || reachesBeyond(text)) {
      this.#obstacle = 'beyond'
      throw new NeedsOwnTransaction()
    }
    this.hasRun = true
    try {
      return await statement()
    } catch (error) {
      this.hasFailed = true
      if (CONFLICTS.some((code) => hasCode(error, code))) this.#obstacle ??= 'conflict'
      throw error
    }
  }
}

/** Several statements without parameters, in one round trip where the adapter can. */
export async function runAll(tx: SqlTransaction, ...statements: readonly string[]): Promise<void> {
  if (tx.script !== undefined) await tx.script(statements.join('; '))
  else for (const statement of statements) await tx.query(statement)
}
