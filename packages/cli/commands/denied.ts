/** Adds the missing rights and the remedy to an error for a denied right; PostgreSQL names only a table. */
import type { missingRights } from 'concordat/extension'

const DENIED = '42501'

/**
 * @param look finds the missing rights on the schema of the command
 */
export async function namingTheRights(
  error: unknown,
  look: () => ReturnType<typeof missingRights> | Promise<undefined>,
): Promise<unknown> {
  if (!(error instanceof Error && 'code' in error && error.code === DENIED)) return error
  const missing = await look().catch(() => undefined)
  if (missing === undefined) return error
  return new Error(`${error.message}: ${missing.text}: ${missing.remedy}`, { cause: error })
}
