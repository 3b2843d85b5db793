/** Waits for a row that a saga holds: the transaction is rolled back and repeated, so that it holds nothing while it waits. */

import { type Clock, SECOND, systemClock } from '../../core/clock.ts'
import { isOf } from '../../core/define-error-class.ts'
import { requireInteger } from '../../core/errors.ts'
import { optionNames, refuseUnknown } from '../../core/option-checks.ts'
import { requireSqlClient, type SqlClient, type SqlTransaction } from '../../core/sql.ts'
import { isRowHeld, UndoError } from './errors.ts'
import type { UndoRetryOptions } from './undo-types.ts'

export const HELD_TIMEOUT_MS: number = 5 * SECOND
export const MAX_HELD_TIMEOUT_MS: number = 2 ** 31 - 1
const PAUSE_MS = 10
const LONGEST_PAUSE_MS = 250
const NAMES = optionNames<UndoRetryOptions>({ timeoutMs: true, signal: true })

/**
 * Resolves with true after a pause, longer each time and of random length, while the error is about a held row or another running
 * step of the saga, and `timeoutMs` has not passed.
 */
export function whileHeld(clock: Clock, timeoutMs: number, signal?: AbortSignal): (error: unknown) => Promise<boolean> {
  const since = clock.monotonic()
  let pauseMs = PAUSE_MS
  return async (error) => {
    const leftMs = timeoutMs - (clock.monotonic() - since)
    if (!(isRowHeld(error) || isOf(error, UndoError, 'saga.undo_not_yet')) || leftMs <= 0) return false
    await clock.sleep(Math.min(leftMs, pauseMs * (0.5 + Math.random() / 2)), signal)
    pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)
    return true
  }
}

export async function retrying<T>(
  sql: SqlClient,
  work: (tx: SqlTransaction) => Promise<T>,
  options: UndoRetryOptions = {},
): Promise<T> {
  requireSqlClient('undo.retrying', sql)
  refuseUnknown('undo.retrying', options, NAMES)
  const asked = options.timeoutMs ?? HELD_TIMEOUT_MS
  const timeoutMs = requireInteger('undo.retrying.timeoutMs', asked, 0, MAX_HELD_TIMEOUT_MS)
  const isPassing = whileHeld(systemClock, timeoutMs, options.signal)
  for (;;) {
    options.signal?.throwIfAborted()
    try {
      return await sql.transaction(work)
    } catch (error) {
      if (!(await isPassing(error))) throw error
    }
  }
}
