/** What each look of the doctor gets, and what becomes of one that fails. */
import { type Clock, SECOND } from '../../core/clock.ts'
import { toError } from '../../core/errors.ts'
import type { SqlClient } from '../../core/sql.ts'
import { type DoctorLine, fail } from './line.ts'

/** What each look gets. */
export interface Examined {
  readonly sql: SqlClient
  readonly schema: string
  readonly clock: Clock
  readonly tables: ReadonlySet<string>
}

/** A person who looks hears of a prepared transaction sooner than a service warns of it: it may be what holds the rows. */
export const PREPARED_MS: number = 30 * SECOND

/** One look that fails keeps nothing from the others. */
export async function attempt(
  check: string,
  look: () => Promise<readonly DoctorLine[]>,
): Promise<readonly DoctorLine[]> {
  try {
    return await look()
  } catch (error) {
    return [fail(check, `cannot be looked at: ${messageOf(error)}`, 'see the lines on tables and rights')]
  }
}

/** Drivers of several addresses say nothing but the code. */
export function messageOf(error: unknown): string {
  const { message } = toError(error)
  if (message !== '') return message
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined
  return typeof code === 'string' ? code : 'unknown error'
}
