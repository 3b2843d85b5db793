import { SqlError } from 'concordat/core'
import { messageOf } from 'concordat/extension'
import type { BoundedConnection } from './bounded-pool.ts'
import { ER, hasNumber, type MysqlResult, resultOf } from './driver.ts'

/** Statements inside an open XA transaction. Invalid after the handler's promise settled. */
export interface MysqlTransaction {
  /**
   * Runs one statement with `?` parameters, which the server binds itself: no value becomes SQL text.
   * @throws the driver's error; `core.sql_cannot_prepare` for a statement that would end the transaction (DDL, COMMIT)
   */
  query<Row extends object = Record<string, unknown>>(
    text: string,
    parameters?: readonly unknown[],
  ): Promise<MysqlResult<Row>>
}

/** A single SELECT. */
const SELECT = /^[\s(]*select\b[^;]*;?\s*$/i

/** The transaction lent to a handler, closed when the handler settles. */
export class LentTransaction implements MysqlTransaction {
  readonly #connection: BoundedConnection
  #isOpen = true
  #timedOut: Error | undefined

  constructor(connection: BoundedConnection) {
    this.#connection = connection
    connection.lend(true)
  }

  async query<Row extends object = Record<string, unknown>>(
    text: string,
    parameters?: readonly unknown[],
  ): Promise<MysqlResult<Row>> {
    if (!this.#isOpen) throw new SqlError('core.sql_transaction_ended')
    try {
      const given = parameters ?? []
      // Without parameters, the text protocol is used: the server cannot prepare a few kinds of statements.
      const answer =
        given.length === 0 ? this.#connection.query(text) : this.#connection.execute(text, [...given] as never[])
      return resultOf<Row>(await answer)
    } catch (error) {
      if (hasNumber(error, ER.LOCK_WAIT_TIMEOUT) && !SELECT.test(text)) this.#timedOut ??= error as Error
      throw explain(error)
    }
  }

  /**
   * Checks that no write failed because it waited too long for a row: the server undoes only that statement, and a handler that
   * catches the error would prepare the others. A handler may catch the error of a SELECT, which wrote nothing: MariaDB uses the
   * same number for NOWAIT. A server with `innodb_rollback_on_timeout` undoes the whole transaction, and then refuses to prepare
   * it.
   * @throws the error of that statement
   */
  requireComplete(): void {
    if (this.#timedOut !== undefined) throw this.#timedOut
  }

  close(): void {
    this.#isOpen = false
    this.#connection.lend(false)
  }
}

/** After a deadlock, the server accepts only the end of the transaction, and its error contains only the state. */
function explain(error: unknown): unknown {
  if (!hasNumber(error, ER.XAER_RMFAIL) || messageOf(error)?.includes('ACTIVE') !== true) return error
  return new SqlError(
    'core.sql_cannot_prepare',
    {
      message:
        'a statement of the handler would have ended its XA transaction (DDL, BEGIN, COMMIT, LOCK TABLES): leave it out',
    },
    error,
  )
}
