/** A message as an outbox row, and back. */
import type { EncodedMessage } from '../binder/message.ts'
import { partitionOf } from '../binder/partition.ts'
import type { SqlTransaction } from '../core/sql.ts'
import { OutboxPartitionsMismatch, OutboxTextInvalid } from './errors.ts'
import { headersFromJson, headersToJson, toBase64 } from './headers.ts'
import type { OutboxTables } from './tables.ts'

/** The columns of a message, for a SELECT; `messageOf` reads them. */
export const MESSAGE_COLUMNS =
  'id, aggregatetype, aggregateid, type, payload, source, content_type, headers::text AS headers, time::text AS time'

export interface MessageRow {
  readonly id: string
  readonly aggregatetype: string
  readonly aggregateid: string | null
  readonly type: string
  readonly payload: Uint8Array | null
  readonly source: string
  readonly content_type: string
  readonly headers: string | null
  readonly time: string
}

export function messageOf(row: MessageRow): EncodedMessage {
  return {
    id: row.id,
    destination: row.aggregatetype,
    key: row.aggregateid,
    type: row.type,
    source: row.source,
    contentType: row.content_type,
    time: Number(row.time),
    headers: headersFromJson(row.headers),
    body: row.payload,
  }
}

/** A key's partition; a message without key goes by its id. */
export function outboxPartition(message: EncodedMessage, partitions: number): number {
  return partitionOf(message.key ?? message.id, partitions)
}

/**
 * Writes all messages in one statement, numbered in the order given.
 * @returns the partitions they went to
 * @throws OutboxPartitionsMismatch when the tables were made for another number; nothing was written
 */
export async function insertMessages(
  tx: SqlTransaction,
  tables: OutboxTables,
  schema: string,
  partitions: number,
  messages: readonly EncodedMessage[],
): Promise<ReadonlySet<number>> {
  for (const message of messages) checkText(message)
  const targets = messages.map((message) => outboxPartition(message, partitions))
  const result = await tx.query(insertText(tables), [
    targets,
    messages.map((m) => m.id),
    messages.map((m) => m.destination),
    messages.map((m) => m.key),
    messages.map((m) => m.type),
    messages.map((m) => (m.body === null ? null : toBase64(m.body))),
    messages.map((m) => m.source),
    messages.map((m) => m.contentType),
    messages.map((m) => headersToJson(m.headers)),
    messages.map((m) => String(Math.round(m.time))),
    partitions,
  ])
  if (result.rowCount !== messages.length) throw new OutboxPartitionsMismatch(schema, partitions, undefined)
  return new Set(targets)
}

/** The join with `outbox_meta` writes nothing when this process has another number of partitions than the tables. */
function insertText(tables: OutboxTables): string {
  return `INSERT INTO ${tables.outbox}
    (partition, id, aggregatetype, aggregateid, type, payload, source, content_type, headers, time)
  SELECT m.partition, m.id, m.destination, m.key, m.type, decode(m.payload, 'base64'), m.source, m.content_type,
    m.headers::json, m.time::bigint
  FROM ${tables.meta} meta, unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
    $8::text[], $9::text[], $10::text[]) WITH ORDINALITY
    AS m(partition, id, destination, key, type, payload, source, content_type, headers, time, n)
  WHERE meta.partitions = $11
  ORDER BY m.n`
}

function checkText(message: EncodedMessage): void {
  const { id, destination, key, type, source, contentType } = message
  for (const [field, text] of Object.entries({ id, destination, key, type, source, contentType })) {
    if (text?.includes('\0')) throw new OutboxTextInvalid(field, destination)
  }
}
