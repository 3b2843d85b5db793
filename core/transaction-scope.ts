import { toError } from './errors.ts'
import {
  type SqlExecutor,
  type SqlOutcome,
  type SqlStatement,
  type SqlTransaction,
  SqlTransactionEnded,
} from './sql.ts'

/** A driver that can do more than the contract asks for. */
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
  readonly #committed: Array<(isWhole: boolean) => void> = []

  constructor(executor: ScopedExecutor) {
    const { script, within, native, last, batch } = executor
    this.tx = {
      inTransaction: true,
      query: (text, parameters) => {
        if (this.#takes(text)) return executor.query(text, parameters)
        return Promise.reject(new SqlTransactionEnded())
      },
      afterCommit: (listener) => void this.#committed.push(listener),
      ...(script !== undefined && {
        script: (text: string) => (this.#takes(text) ? script(text) : Promise.reject(new SqlTransactionEnded())),
      }),
      ...(within !== undefined && { within }),
      ...(batch !== undefined && {
        batch: (statements: readonly SqlStatement[]) =>
          this.#takes(...statements.map(({ text }) => text)) ? batch(statements) : ended(statements),
      }),
      ...(last !== undefined && {
        last: (text: string, parameters?: readonly unknown[]) => {
          if (!this.#takes(text)) return Promise.reject(new SqlTransactionEnded())
          this.close()
          return last(text, parameters)
        },
      }),
      ...(native !== undefined && {
        native: (text: string, statement: unknown) =>
          this.#takes(text) ? native(text, statement) : Promise.reject(new SqlTransactionEnded()),
      }),
    }
  }

  /** Sees each statement before it is sent. @returns whether it may be */
  #takes(...texts: readonly string[]): boolean {
    if (this.#isWhole && texts.some(rollsBack)) this.#isWhole = false
    return this.#open
  }

  /** The callback settled: later queries reject instead of running on a connection that somebody else may hold. */
  close(): void {
    this.#open = false
  }

  /** The server confirmed the commit. A listener that throws is a warning of the process: it undoes nothing. */
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

/** Whether a statement may roll back to a savepoint. A text that only says the word counts too. */
export function rollsBack(text: string): boolean {
  return /\brollback\b/i.test(text)
}

async function ended(statements: readonly SqlStatement[]): Promise<readonly SqlOutcome[]> {
  return statements.map(() => ({ status: 'rejected', reason: new SqlTransactionEnded() }))
}
