/** Failures of a transaction's statements, and what they say about its connection. */
import { hasCode } from '../errors.ts'
import { type SqlOutcome } from '../sql.ts'
import { connectionAnswered, READ_ONLY } from '../sql-unavailable.ts'
import { ConnectionEndReason } from './connection-end-reason.ts'
import { type PgConnection, run } from './run-statement.ts'

export class StatementFailures {
  readonly said: ConnectionEndReason = new ConnectionEndReason()
  /** Errors of its statements, in their order. */
  readonly failed: unknown[] = []
  /** The connection is not usable for another transaction. */
  isBroken = false

  /** For the `catch` of a statement. @throws the error, with the reason why its connection ended */
  readonly rethrow = (error: unknown): never => {
    this.#note(error)
    throw this.said.explain(error)
  }

  noteAll(outcomes: readonly SqlOutcome[]): void {
    for (const outcome of outcomes) if (outcome.status === 'rejected') this.#note(outcome.reason)
  }

  /** Called after the server has confirmed the end of the transaction. Never rejects. */
  async connectionAnswered(connection: PgConnection): Promise<void> {
    await connectionAnswered(this.failed, (text) => run(connection, text))
  }

  /** Never rejects. */
  async rollBack(connection: PgConnection): Promise<void> {
    try {
      await connection.query('ROLLBACK')
      await this.connectionAnswered(connection)
    } catch {
      this.isBroken = true
    }
  }

  /** Records the failure of the work. */
  ended(error: unknown): void {
    this.isBroken ||= isStale(error)
  }

  #note(error: unknown): void {
    this.isBroken ||= isStale(error)
    this.failed.push(error)
  }
}

/**
 * True if the connection's cached state is outdated: a column has another type, the connection changed, or its server is
 * read-only (a standby, or a primary that became one) while another server accepts writes.
 */
function isStale(error: unknown): boolean {
  return hasCode(error, 'core.sql_statement_lost') || hasCode(error, '0A000') || hasCode(error, READ_ONLY)
}
