/** The mistakes that can be built in (`--broken`), made around the library: it has no switch for them. */
import type { SqlClient, SqlExecutor } from 'concordat/core'

const CHECK = 'AND s.revision = w.revision - 1'

/** `saga_write` without the check that every write depends on. */
export async function createUnchecked(sql: SqlClient): Promise<void> {
  const { rows } = await sql.query<{ text: string }>(
    `SELECT pg_get_functiondef('concordat.saga_write(jsonb)'::regprocedure) AS text`,
  )
  const text = rows[0]?.text ?? ''
  if (!text.includes(CHECK)) throw new Error(`no "${CHECK}" in saga_write: the mistake cannot be built in`)
  await sql.query(text.replace('saga_write', 'saga_write_unchecked').replace(CHECK, ''))
}

/** Makes the store write sagas without a check of their owner and version. */
export function uncheckedWrites(sql: SqlClient): SqlClient {
  const query: SqlExecutor['query'] = (text, parameters) => sql.query(unchecked(text), parameters)
  return {
    query,
    transaction: (work) =>
      sql.transaction((tx) =>
        work({
          inTransaction: true,
          query: (text, parameters) => tx.query(unchecked(text), parameters),
          afterCommit: tx.afterCommit,
        }),
      ),
  }
}

function unchecked(text: string): string {
  return text.replace('.saga_write(', '.saga_write_unchecked(')
}
