/** Rights that the role of a command lacks: PostgreSQL names one table, and no remedy. */
import type { missingRights } from 'concordat/extension'

const DENIED = '42501'

/** @param look for the missing rights on the schema of the command */
export async function namingTheRights(
  error: unknown,
  look: () => ReturnType<typeof missingRights> | Promise<undefined>,
): Promise<unknown> {
  if (!(error instanceof Error && 'code' in error && error.code === DENIED)) return error
  const missing = await look().catch(() => undefined)
  if (missing === undefined) return error
  return new Error(`${error.message}: ${missing.text}: ${missing.remedy}`, { cause: error })
}
