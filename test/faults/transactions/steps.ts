import type { SqlClient, SqlExecutor, SqlTransaction } from 'concordat/core'

/** Called just before and just after each statement, commit and preparation. May never return. */
export type OnStep = (what: string, when: 'before' | 'after') => Promise<void>

/** Wraps the client with a hook for each of its steps. */
export function stepped(sql: SqlClient, onStep: OnStep): SqlClient {
  const queryIn =
    (on: SqlExecutor): SqlExecutor['query'] =>
    async (text, parameters) => {
      await onStep(text, 'before')
      const result = await on.query(text, parameters)
      await onStep(text, 'after')
      return result as never
    }
  const inside =
    <T>(work: (tx: SqlTransaction) => Promise<T>, end: string) =>
    async (tx: SqlTransaction): Promise<T> => {
      const result = await work({ ...tx, query: queryIn(tx) })
      await onStep(end, 'before')
      return result
    }
  return {
    ...sql,
    query: queryIn(sql),
    transaction: async (work) => {
      const result = await sql.transaction(inside(work, 'COMMIT'))
      await onStep('COMMIT', 'after')
      return result
    },
    prepare: async (gid, work) => {
      const end = `PREPARE ${gid}`
      const result = await sql.prepare?.(gid, inside(work, end))
      await onStep(end, 'after')
      return result as Awaited<ReturnType<typeof work>>
    },
  }
}
