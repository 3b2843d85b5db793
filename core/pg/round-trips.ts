import { fromOwnStatement, throwFromOwnStatement } from '../own-statements.ts'
import type { SqlOutcome, SqlResult, SqlStatement } from '../sql.ts'
import { fromDriver, throwFromDriver } from '../sql-unavailable.ts'
import { type Outcome, sendBatch } from './batch.ts'
import { type PgConnection, type PgResult, resultOf, run, throwLost } from './run-statement.ts'
import { sendEnclosed } from './single-round-trip-statements.ts'
import type { StatementNames } from './statement-names.ts'

/**
 * Sends the statements of a transaction in few round trips: its `BEGIN` with the first statement, and its end with the last one,
 * if that is marked as the last.
 */
export class RoundTrips {
  readonly #connection: PgConnection
  readonly #begin: readonly string[]
  readonly #names: StatementNames | undefined
  /** The result of `BEGIN`, if a caller has to wait for it; `true` once it was sent before a statement. */
  #begun: Promise<unknown> | true | undefined
  /** Command tag of the end, once it was sent after a statement. */
  endedWith: string | undefined

  /** @param begin statements without parameters */
  constructor(connection: PgConnection, begin: readonly string[], names: StatementNames | undefined) {
    this.#connection = connection
    this.#begin = begin
    this.#names = names
  }

  /** True once `BEGIN` was sent. */
  get isBegun(): boolean {
    return this.#begun !== undefined
  }

  async run<Row extends object>(text: string, parameters: readonly unknown[] | undefined): Promise<SqlResult<Row>> {
    if (this.#begun === undefined) {
      const sent = this.#around<Row>(text, parameters, [])
      if (sent !== undefined) return sent
    }
    return this.after(() => run<Row>(this.#connection, text, parameters, this.#names))
  }

  /** The last statement, followed by the end of the transaction if the connection can; `endedWith` says whether it could. */
  async runLast<Row extends object>(
    text: string,
    parameters: readonly unknown[] | undefined,
    end: string,
  ): Promise<SqlResult<Row>> {
    if (this.#begun !== undefined && this.#begun !== true) await this.#begun
    return this.#around<Row>(text, parameters, [end]) ?? this.run<Row>(text, parameters)
  }

  /** Several statements, in one round trip if the connection can, after that of `BEGIN` if it was not sent yet. */
  async batch(statements: readonly SqlStatement[]): Promise<readonly SqlOutcome[]> {
    if (this.#begun !== true) await this.begin()
    const sent = sendBatch<PgResult>(
      this.#connection,
      statements.map(({ text, parameters }) => ({ text, values: [...parameters] })),
    )
    if (sent !== undefined) return (await sent).map(outcomeOf)
    return Promise.allSettled(
      statements.map(({ text, parameters }) => this.run<Record<string, unknown>>(text, parameters)),
    )
  }

  /** Runs it when the transaction is open. */
  async after<T>(statement: () => Promise<T>): Promise<T> {
    if (this.#begun !== true) await this.begin()
    return statement()
  }

  /** Resolves when the transaction is open. */
  async begin(): Promise<void> {
    this.#begun ??= this.#connection.query(this.#begin.join('; ')).catch(throwFromOwnStatement).catch(throwFromDriver)
    await this.#begun
  }

  #around<Row extends object>(
    text: string,
    parameters: readonly unknown[] | undefined,
    after: readonly string[],
  ): Promise<SqlResult<Row>> | undefined {
    // The driver refuses these before it sends anything.
    if (typeof text !== 'string' || !Array.isArray(parameters)) return undefined
    const statement = { text, values: [...parameters], name: this.#names?.of(text) }
    const before = this.#begun === undefined ? this.#begin : []
    const sent = sendEnclosed<PgResult>(this.#connection, statement, { before, after })
    if (sent === undefined) return undefined
    this.#begun ??= true
    return (
      sent
        .then(({ result, tag }) => {
          if (after.length > 0) this.endedWith = tag
          return resultOf<Row>(result)
        })
        .catch(throwLost)
        // Without a response, the commit may be the one that waits: both responses arrive together.
        .catch((error: unknown) => throwFromDriver(after.length > 0 ? fromOwnStatement(error) : error))
    )
  }
}

function outcomeOf(outcome: Outcome<PgResult>): SqlOutcome {
  if (outcome.status === 'rejected') return { status: 'rejected', reason: fromDriver(outcome.reason) }
  return { status: 'fulfilled', value: resultOf(outcome.value) }
}
