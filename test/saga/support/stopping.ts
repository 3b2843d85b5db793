import type { SqlClient } from 'concordat/core'

/** Client that pauses before its transaction is prepared, or after that, until the promise is settled. */
export function stopping(
  sql: SqlClient,
  stops: { readonly beforePrepare?: () => Promise<void>; readonly afterPrepare?: () => Promise<void> },
): SqlClient {
  return {
    ...sql,
    prepare: async (gid, work) => {
      await stops.beforePrepare?.()
      const result = await sql.prepare?.(gid, work)
      await stops.afterPrepare?.()
      return result as Awaited<ReturnType<typeof work>>
    },
  }
}
