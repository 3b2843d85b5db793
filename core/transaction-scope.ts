import { toError } from './errors.ts'
import { type SqlExecutor, type SqlOutcome, type SqlStatement, type SqlTransaction } from './sql.ts'
import { SqlError } from './sql-error.ts'
import { controlsTransaction } from './transaction-control.ts'

/** A driver with more features than the contract requires. */
export interface ScopedExecutor extends SqlExecutor {
  readonly script?: ((text: string) => Promise<void>) | undefined
  readonly within?: SqlTransaction['within']
  readonly native?: SqlTransaction['native']
  readonly last?: SqlTransaction['last']
  readonly batch?: SqlTransaction['batch']
}

/** For adapters: the `SqlTransaction` lent to a callback, closed when the callback settles. */
export class TransactionScope {
  readonly tx: SqlTransaction
  #open = true
  #isWhole = true
  readonly #onStatement: ((text: string) => void) | undefined
  readonly #committed: Array<(isWhole: boolean) => void> = []

  /** @param onStatement called with each statement before it is sent */
  constructor(executor: ScopedExecutor, onStatement?: (text: string) => void) {
    this.#onStatement = onStatement
    const { script, within, native, last, batch } = executor
    this.tx = {
      inTransaction: true,
      query: (text, parameters) => this.#run([text], () => executor.query(text, parameters)),
      afterCommit: (listener) => void this.#committed.push(listener),
      ...(script !== undefined && { script: (text: string) => this.#run([text], () => script(text)) }),
      ...(within !== undefined && { within }),
      ...(batch !== undefined && {
        batch: (statements: readonly SqlStatement[]) => {
          const texts = statements.map(({ text }) => text)
          return this.#run(texts, () => batch(statements)).catch((reason: unknown) =>
            statements.map((): SqlOutcome => ({ status: 'rejected', reason })),
          )
        },
      }),
      ...(last !== undefined && {
        last: (text: string, parameters?: readonly unknown[]) =>
          this.#run([text], () => {
            this.close()
            return last(text, parameters)
          }),
      }),
      ...(native !== undefined && {
        native: (text: string, statement: unknown) => this.#run([text], () => native(text, statement)),
      }),
    }
  }

  /** Checks each statement before it is sent. @throws `core.sql_transaction_ended`, `core.sql_transaction_control` */
  #run<T>(texts: readonly string[], send: () => Promise<T>): Promise<T> {
    if (this.#isWhole && texts.some(rollsBack)) this.#isWhole = false
    if (!this.#open) return Promise.reject(new SqlError('core.sql_transaction_ended'))
    if (this.#onStatement !== undefined) for (const text of texts) this.#onStatement(text)
    return texts.some(controlsTransaction) ? Promise.reject(new SqlError('core.sql_transaction_control')) : send()
  }

  /** Called when the callback settled: later queries reject, instead of running on a connection that another caller may hold. */
  close(): void {
    this.#open = false
  }

  /** Called after the server confirmed the commit. An error of a listener becomes a process warning: it undoes nothing. */
  committed(): void {
    for (const listener of this.#committed) {
      try {
        listener(this.#isWhole)
      } catch (error) {
        process.emitWarning(toError(error))
      }
    }
  }
}

/** Tells whether a statement may roll back to a savepoint. A text that merely contains the word also counts. */
export function rollsBack(text: string): boolean {
  return /\brollback\b/i.test(text)
}
