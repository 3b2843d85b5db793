import { quoteIdentifier, type SqlClient } from 'concordat/core'
import type { DeadLetterPlace } from '../dead-letter-types.ts'

/** Names that `saga/wire/wire.ts` fixes for all releases. */
const REPLIES = '.saga-replies'
const REPLY_GROUP = 'coordinator'

/** The group that reads the replies to the sagas in this schema; none before the first saga. */
export async function replyPlaces(
  sql: SqlClient,
  schema: string,
  tables: ReadonlySet<string>,
): Promise<readonly DeadLetterPlace[]> {
  if (!tables.has('saga') || !tables.has('outbox_meta')) return []
  const s = quoteIdentifier(schema)
  const { rows } = await sql.query<{ service: string }>(
    `SELECT service FROM ${s}.outbox_meta WHERE service IS NOT NULL AND EXISTS (SELECT FROM ${s}.saga)`,
  )
  return rows.map(({ service }) => ({ channel: `${service}${REPLIES}`, group: REPLY_GROUP }))
}
