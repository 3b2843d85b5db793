/** Ends a prepared transaction from any connection. */

import { hasCode, toError } from '../../core/errors.ts'
import { fromOwnStatement } from '../../core/own-statements.ts'
import { quoteLiteral, type SqlExecutor } from '../../core/sql.ts'
import type { BusyTries } from '../../core/transaction-retries.ts'
import { SagaError } from '../errors.ts'

/** Waits a little, longer each time. @throws `saga.xa_not_yet` when it took too long; the reason of the signal */
export async function notYet(busy: BusyTries, what: string): Promise<void> {
  const error = new SagaError('saga.xa_not_yet', { message: what })
  if (!(await busy.wait(error))) throw error
}

/**
 * Runs `COMMIT PREPARED` or `ROLLBACK PREPARED`. Harmless if another process was faster.
 * @returns false when no transaction with this name is still prepared
 */
export async function endPrepared(
  sql: SqlExecutor,
  verb: 'COMMIT' | 'ROLLBACK',
  gid: string,
  busy: BusyTries,
): Promise<boolean> {
  for (;;) {
    try {
      await sql.query(`${verb} PREPARED ${quoteLiteral(gid)}`)
      return true
    } catch (error) {
      if (hasCode(error, '42704')) return false
      if (hasCode(error, '42501')) throw notAllowed(gid, error)
      // Another connection is ending it.
      if (!hasCode(error, '55000')) throw fromOwnStatement(error)
    }
    await notYet(busy, `prepared transaction ${gid} is being ended by another session`)
  }
}

/** Another role prepared it, and only that role or a superuser may end it. The command is tried again. */
function notAllowed(gid: string, cause: unknown): Error {
  const remedy = 'let all instances use the database user that prepared it, or end it as a superuser'
  const error = new Error(`prepared transaction ${gid}: ${toError(cause).message}: ${remedy}`, { cause })
  return Object.assign(error, { code: '42501', retryable: true })
}
