import { quoteIdentifier, type SqlClient } from 'concordat/core'
import { ownQuery } from 'concordat/extension'

/** Remembered messages of a consumer's inbox. */
export interface InboxCount {
  /** `<service>.<group>` as the binding names it. */
  readonly consumer: string
  readonly channel: string
  readonly messages: number
  /** Epoch ms, server time. */
  readonly oldestAt: number
  readonly newestAt: number
}

/** Counts every row: for a person, not for a loop. @throws `core.tables_missing` */
export async function countInboxes(sql: SqlClient, schema: string): Promise<readonly InboxCount[]> {
  const { rows } = await ownQuery(schema, 'inbox.migrate()')<InboxCount>(
    sql,
    `SELECT consumer, channel, count(*)::float8 AS messages,
       (extract(epoch FROM min(received_at)) * 1000)::float8 AS "oldestAt",
       (extract(epoch FROM max(received_at)) * 1000)::float8 AS "newestAt"
     FROM ${quoteIdentifier(schema)}.inbox GROUP BY consumer, channel ORDER BY consumer, channel LIMIT 1000`,
  )
  return rows
}
