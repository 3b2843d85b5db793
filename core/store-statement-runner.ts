/**
 * Runs the steps of a store on PostgreSQL, each of which is one statement: one function call, or one query. A step costs one
 * round trip and is atomic. It needs READ COMMITTED, because a step must see everything that the previous step committed.
 *
 * A function called under another default isolation refuses with `WRONG_ISOLATION`. From then on, each step is an explicit
 * transaction: correct, with three more round trips. The server ends such a transaction if its client stops in the middle, so
 * that a stopped process blocks no one else.
 */

import { type Clock, SECOND } from './clock.ts'
import { hasCode, toError } from './errors.ts'
import { explainMissing, refuseOwnTransaction, type SqlClient, type SqlResult } from './sql.ts'
import { WRONG_ISOLATION } from './sql-function-snippets.ts'
import { fromDriver } from './sql-unavailable.ts'
import { within } from './time-limit.ts'
import { BusyTries } from './transaction-retries.ts'
import { type WriteOutcome, writeFault, writeOutcome } from './write-fault.ts'

export type StepOutcome = Exclude<WriteOutcome, 'refused'>

/** Creates the errors of a store. */
export interface StepErrors {
  unavailable(outcome: StepOutcome, detail: string, cause?: unknown): Error
  refused(cause: Error): Error
}

export interface SqlStepsFields {
  readonly sql: SqlClient
  readonly schema: string
  /** The call that creates the tables: `locks.migrate()`. */
  readonly migrateCall: string
  /** After this time without a response, a step is given up as `unknown`. */
  readonly answerMs: number
  readonly clock: Clock
  readonly errors: StepErrors
}

const NO_ANSWER = Symbol('no answer')

export class StoreStatementRunner {
  readonly #fields: SqlStepsFields
  readonly #onBack: Array<() => void> = []
  readonly #underWay = new Set<(error: Error) => void>()
  #inTransactions = false
  #health: { readonly status: 'up' | 'down' | 'idle'; readonly detail?: string } = { status: 'idle' }
  #closed = false

  constructor(fields: SqlStepsFields) {
    this.#fields = fields
  }

  /** Calls `listener` after each outage, with the first step that gets a response again. */
  onBack(listener: () => void): void {
    this.#onBack.push(listener)
  }

  /** @throws `core.sql_own_transaction`, which says nothing about the store; otherwise an error created by `errors` */
  async run<Row extends object>(text: string, parameters: readonly unknown[]): Promise<readonly Row[]> {
    const { clock, answerMs, errors } = this.#fields
    if (this.#closed) throw errors.unavailable('not_done', 'the store is closed')
    this.refuseInside()
    let rows: readonly Row[] | typeof NO_ANSWER
    try {
      rows = await this.#unlessClosed(within(clock, answerMs, this.#persist<Row>(text, parameters), NO_ANSWER))
    } catch (error) {
      throw this.#translated(fromDriver(error))
    }
    if (rows === NO_ANSWER) throw this.#away('unknown', `no answer within ${answerMs} ms`)
    this.#answered()
    return rows
  }

  /** @throws `core.sql_own_transaction` if the caller runs inside a transaction that a step would wait for */
  refuseInside(): void {
    refuseOwnTransaction(this.#fields.sql)
  }

  health(): { readonly status: 'up' | 'down' | 'idle'; readonly detail?: string } {
    return this.#health
  }

  /** Steps in progress reject. */
  close(): void {
    this.#closed = true
    for (const reject of this.#underWay) reject(this.#fields.errors.unavailable('unknown', 'the store was closed'))
    this.#underWay.clear()
  }

  #unlessClosed<T>(step: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#underWay.add(reject)
      step
        .finally(() => this.#underWay.delete(reject))
        .then(resolve, reject)
        .catch(() => {})
    })
  }

  /** Repeats a step that the server rolled back because of another one. */
  async #persist<Row extends object>(text: string, parameters: readonly unknown[]): Promise<readonly Row[]> {
    const { clock, answerMs } = this.#fields
    const busy = new BusyTries(clock, undefined, answerMs / 2)
    for (;;) {
      const inTransaction = this.#inTransactions
      try {
        return (await this.#once<Row>(text, parameters, inTransaction)).rows
      } catch (error) {
        if (!inTransaction && hasCode(error, WRONG_ISOLATION)) this.#inTransactions = true
        else if (this.#closed || !(await busy.wait(error))) throw error
      }
    }
  }

  #once<Row extends object>(
    text: string,
    parameters: readonly unknown[],
    inTransaction: boolean,
  ): Promise<SqlResult<Row>> {
    const { sql, answerMs } = this.#fields
    if (!inTransaction) return sql.query<Row>(text, parameters)
    return sql.transaction(async (tx) => {
      await tx.query('SET TRANSACTION ISOLATION LEVEL READ COMMITTED')
      await tx.query(`SET LOCAL idle_in_transaction_session_timeout = ${Math.max(answerMs, 1 * SECOND)}`)
      return tx.query<Row>(text, parameters)
    })
  }

  #translated(error: unknown): Error {
    const { schema, migrateCall, errors } = this.#fields
    if (this.#closed) return toError(error)
    const explained = toError(explainMissing(error, schema, migrateCall))
    if (hasCode(explained, 'core.tables_missing')) return errors.refused(explained)
    const outcome = writeOutcome(error)
    // A database that reports a conflict is available.
    if (writeFault(error) === 'busy') return errors.unavailable('not_done', explained.message, error)
    return outcome === 'refused' ? errors.refused(explained) : this.#away(outcome, explained.message, error)
  }

  #away(outcome: StepOutcome, detail: string, cause?: unknown): Error {
    this.#health = { status: 'down', detail }
    return this.#fields.errors.unavailable(outcome, detail, cause)
  }

  #answered(): void {
    const wasDown = this.#health.status === 'down'
    if (this.#health.status !== 'up') this.#health = { status: 'up' }
    if (wasDown) for (const listener of this.#onBack) listener()
  }
}
