/** Context of each check, and handling of failed checks. */
import { type Clock, SECOND, type SqlClient } from 'concordat/core'
import { toError } from 'concordat/extension'
import type { OperatorRecords } from 'concordat/operator'
import { type DoctorLine, fail } from './line.ts'

/** Context of each check. */
export interface Examined {
  readonly records: OperatorRecords
  readonly sql: SqlClient
  readonly schema: string
  readonly clock: Clock
  readonly tables: ReadonlySet<string>
}

/** A person who asks gets to know of a prepared transaction earlier than a service warns of it: it may hold the rows. */
export const PREPARED_MS: number = 30 * SECOND

/** A failed check does not stop the others. */
export async function attempt(
  check: string,
  look: () => Promise<readonly DoctorLine[]>,
): Promise<readonly DoctorLine[]> {
  try {
    return await look()
  } catch (error) {
    return [withError(fail(check, 'cannot be looked at', 'see the lines on tables and rights'), error)]
  }
}

/** Appends the text of an error to that of a line. */
export function withError(line: DoctorLine, cause: unknown): DoctorLine {
  const error = messageOf(cause)
  return { ...line, text: `${line.text}: ${error}`, error }
}

/** For several addresses, drivers report only the code. */
function messageOf(error: unknown): string {
  const { message } = toError(error)
  if (message !== '') return message
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined
  return typeof code === 'string' ? code : 'unknown error'
}
