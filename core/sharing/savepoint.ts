/** A piece of work within a shared transaction: statements up to a savepoint, as if the transaction were its own. */

import { isAborted } from '../aborted-transaction.ts'
import { keptByText } from '../kept-by-text.ts'
import { type SqlResult, type SqlTransaction } from '../sql.ts'
import { isConflict } from '../sql-conflicts.ts'
import { SqlError } from '../sql-error.ts'
import { controlsTransaction } from '../transaction-control.ts'
import { rollsBack } from '../transaction-scope.ts'
import { type Asker, canBatch, endOfTurn, NeedsOwnTransaction, type StatementBatcher } from './statement-batcher.ts'

const NAME = 'concordat_share'
export const TAKE = `SAVEPOINT ${NAME}`
export const KEEP = `RELEASE SAVEPOINT ${NAME}`
export const UNDO = `ROLLBACK TO SAVEPOINT ${NAME}`

/**
 * Statements with an effect beyond a savepoint: settings of the transaction, and objects that live until its end. They are found
 * at the start of a statement, also of a later one in the same text; `set_config` may be anywhere.
 */
const REACHES_BEYOND =
  /(?:^|;)\s*(?:set|reset|discard|do|lock|listen|unlisten|notify|declare|create\s+(?:(?:local|global)\s+)?temp(?:orary)?)\b|\bset_config\b|\bpg_(?:try_)?advisory_xact_lock|\bpg_notify\b/i
const COMMENTS = /\/\*[\s\S]*?\*\/|--[^\n]*/g

const reachesBeyond = keptByText((text) => REACHES_BEYOND.test(text.replaceAll(COMMENTS, ' ')))

/**
 * Why a piece of work is started again: the others conflicted with it, or its effect goes beyond a savepoint, or beyond one
 * statement with which it ends.
 */
export type Obstacle = 'conflict' | 'beyond' | 'several'

export class SavepointScope implements Asker {
  readonly tx: SqlTransaction
  readonly #outer: SqlTransaction
  readonly #together: StatementBatcher | undefined
  readonly #listeners: Array<(isWhole: boolean) => void> = []
  /** Its own statements have not rolled back to a savepoint. */
  #isWhole = true
  isOpen = true
  #hasLingered = false
  #obstacle: Obstacle | undefined
  /** Errors of its statements. Only after an error can the transaction have been aborted with the error caught. */
  readonly failures: unknown[] = []
  /** Number of its statements. */
  statements = 0

  /** @param together set if it runs together with others: it may then have one statement, with which it ends */
  constructor(outer: SqlTransaction, together?: StatementBatcher) {
    this.#outer = outer
    this.#together = together
    const { native } = outer
    this.tx = {
      inTransaction: true,
      query: (text, parameters) => this.#run(text, () => this.#ask(text, parameters)),
      ...(native !== undefined && {
        native: (text: string, statement: unknown) => {
          const asked = (): Promise<unknown> => native(text, statement)
          return this.#run(text, () => together?.ask(this, asked) ?? asked())
        },
      }),
      within: outer.within,
      ...(outer.afterCommit !== undefined && {
        afterCommit: (listener: (isWhole: boolean) => void) => void this.#listeners.push(listener),
      }),
    }
  }

  /** True if the piece had at most one statement and ended in the turn of its result. */
  get isSingle(): boolean {
    return this.statements <= 1 && !this.#hasLingered
  }

  lingers(): void {
    this.#hasLingered = true
    if (this.#together !== undefined) this.#obstacle ??= 'several'
  }

  isAborted(): Promise<boolean> {
    return isAborted({ query: (text) => this.#ask(text) })
  }

  get obstacle(): Obstacle | undefined {
    return this.#obstacle
  }

  /** Later statements reject. */
  close(): void {
    this.isOpen = false
  }

  /** Lets the piece and its listeners commit with the transaction. */
  join(): void {
    const isWhole = this.#isWhole
    for (const listener of this.#listeners) this.#outer.afterCommit?.(() => listener(isWhole))
  }

  async #run<T>(text: string, statement: () => Promise<T>): Promise<T> {
    if (!this.isOpen) throw new SqlError('core.sql_transaction_ended')
    if (controlsTransaction(text)) throw new SqlError('core.sql_transaction_control')
    if (rollsBack(text)) this.#isWhole = false
    if (this.#obstacle === 'beyond' || reachesBeyond(text)) {
      this.#obstacle = 'beyond'
      throw new NeedsOwnTransaction()
    }
    if (this.#together !== undefined && this.statements > 0) {
      this.#obstacle ??= 'several'
      throw new NeedsOwnTransaction()
    }
    this.statements++
    try {
      return await statement()
    } catch (error) {
      this.failures.push(error)
      // Others in the transaction may be the reason.
      if (isConflict(error)) this.#obstacle ??= 'conflict'
      throw error
    } finally {
      if (this.#together === undefined && this.statements === 1 && canBatch(this.#outer)) void this.#watchTurn()
    }
  }

  async #watchTurn(): Promise<void> {
    await endOfTurn()
    if (this.isOpen) this.lingers()
  }

  #ask<Row extends object>(text: string, parameters?: readonly unknown[]): Promise<SqlResult<Row>> {
    return this.#together?.query<Row>(this, text, parameters) ?? this.#outer.query<Row>(text, parameters)
  }
}

/** Runs several statements without parameters, in one round trip if the adapter can. */
export async function runAll(tx: SqlTransaction, ...statements: readonly string[]): Promise<void> {
  if (tx.script !== undefined) await tx.script(statements.join('; '))
  else for (const statement of statements) await tx.query(statement)
}
