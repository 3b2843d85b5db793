/** Names the schemas of other services, which this report leaves out, and tells which of them have something for a person. */
import { quoteIdentifier, type SqlExecutor } from '../../core/sql.ts'
import { schemasWith } from '../schemas.ts'
import { type DoctorLine, ok, warn, word } from './line.ts'
import type { Examined } from './look.ts'

/** Every schema with tables of ours has it. */
export const VERSIONS_TABLE = 'concordat_migration'
/** Of so many schemas a report takes no longer than it may. */
const MOST = 50

export async function examineSchemas({ sql, schema }: Examined): Promise<readonly DoctorLine[]> {
  const names = (await schemasWith(sql, VERSIONS_TABLE)).filter((name) => name !== schema)
  if (names.length === 0) return []
  const lines: DoctorLine[] = []
  for (const name of names.slice(0, MOST)) {
    const waits = await waitingIn(sql, name)
    if (waits.length > 0)
      lines.push(warn('schemas', `"${name}" has ${waits.join(' and ')}`, `npx concordat doctor --schema ${word(name)}`))
  }
  const others = names.map((name) => `--schema ${word(name)}`).join(', ')
  return [...lines, ok('schemas', `looked at "${schema}" only; other services have theirs: ${others}`)]
}

/** What waits for a person there. Nothing where this role may not read: it is somebody else's. */
async function waitingIn(sql: SqlExecutor, schema: string): Promise<readonly string[]> {
  const [saga, outbox] = [`${quoteIdentifier(schema)}.saga`, `${quoteIdentifier(schema)}.outbox`]
  const { rows } = await sql.query<{ saga: boolean; outbox: boolean }>(
    `SELECT coalesce(has_table_privilege(to_regclass($1), 'SELECT'), false) AS saga,
       coalesce(has_table_privilege(to_regclass($2), 'SELECT'), false) AS outbox
     WHERE has_schema_privilege($3, 'USAGE')`,
    [saga, outbox, schema],
  )
  const { rows: found } = await sql.query<{ what: string }>(
    [
      `SELECT '' AS what WHERE false`,
      rows[0]?.saga
        ? `SELECT 'stuck sagas' WHERE EXISTS (SELECT FROM ${saga} WHERE status = 'stuck' AND ended_at IS NULL)`
        : [],
      rows[0]?.outbox
        ? `SELECT 'parked messages' WHERE EXISTS (SELECT FROM ${outbox} WHERE next_attempt_at = 'infinity')`
        : [],
    ]
      .flat()
      .join(' UNION ALL '),
  )
  return found.map(({ what }) => what)
}
