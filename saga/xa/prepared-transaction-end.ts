/** Ending a transaction that is prepared, from any connection. */

import { type Clock, SECOND } from '../../core/clock.ts'
import { hasCode, toError } from '../../core/errors.ts'
import { quoteLiteral, type SqlExecutor } from '../../core/sql.ts'
import { SagaError } from '../errors.ts'

const PAUSE_MS = 20
const LONGEST_PAUSE_MS = 500
/** After this long the command is put back: its retries, and those of the coordinator, go on from there. */
const PATIENCE_MS = 10 * SECOND

/** Repeats a request until it has an answer. */
export class Patience {
  readonly #clock: Clock
  readonly #signal: AbortSignal
  readonly #since: number
  #pauseMs = PAUSE_MS

  constructor(clock: Clock, signal: AbortSignal) {
    this.#clock = clock
    this.#signal = signal
    this.#since = clock.monotonic()
  }

  /** Waits a little, longer each time. @throws `saga.xa_not_yet` when it took too long; the reason of the signal */
  async wait(what: string): Promise<void> {
    if (this.#clock.monotonic() - this.#since > PATIENCE_MS) throw new SagaError('saga.xa_not_yet', { message: what })
    await this.#clock.sleep(this.#pauseMs, this.#signal)
    this.#pauseMs = Math.min(this.#pauseMs * 2, LONGEST_PAUSE_MS)
  }
}

/**
 * `COMMIT PREPARED` or `ROLLBACK PREPARED`. Harmless if another process was faster.
 * @returns false when no transaction of this name is prepared any longer
 */
export async function endPrepared(
  sql: SqlExecutor,
  verb: 'COMMIT' | 'ROLLBACK',
  gid: string,
  patience: Patience,
): Promise<boolean> {
  for (;;) {
    try {
      await sql.query(`${verb} PREPARED ${quoteLiteral(gid)}`)
      return true
    } catch (error) {
      if (hasCode(error, '42704')) return false
      if (hasCode(error, '42501')) throw notAllowed(gid, error)
      // Another connection is ending it.
      if (!hasCode(error, '55000')) throw error
    }
    await patience.wait(`prepared transaction ${gid} is being ended by another session`)
  }
}

/** Another role prepared it, and only that role or a superuser may end it: tried again. */
function notAllowed(gid: string, cause: unknown): Error {
  const remedy = 'let all instances use the database user that prepared it, or end it as a superuser'
  const error = new Error(`prepared transaction ${gid}: ${toError(cause).message}: ${remedy}`, { cause })
  return Object.assign(error, { code: '42501', retryable: true })
}
