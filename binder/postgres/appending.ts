/** Statements that append messages. */
import type { SqlClient } from '../../core/sql.ts'
import { toBase64 } from '../channel/json-header.ts'
import type { EncodedMessage } from '../channel/message.ts'
import { metaOf } from './message-row.ts'
import type { TransportTables } from './tables.ts'

/** A message with its partition. */
export interface Placed {
  /** Position in the given list. */
  readonly index: number
  readonly message: EncodedMessage
  /** In UTF-8. */
  readonly key: Buffer | null
  readonly part: number
  /** See `KnownDestination.log`. */
  readonly log: string
}

export type Statement = readonly [text: string, parameters: readonly unknown[]]

/**
 * Appends messages to the log, in the given order. The most frequent case needs no lists. For several messages, keys and bodies
 * are one value in bytes, which is sent and split unchanged, and JSON fields are one JSON: PostgreSQL reads an array of texts
 * character by character, it must be quoted accordingly, and bytes in it would be base64. Lists are texts, because drivers handle
 * arrays differently.
 *
 * If a partition no longer belongs to the destination, or the log is another one, there is no segment, so the statement is
 * refused: `isOutdated`. The log may have been dropped and recreated, or a failover may have lost the channel: another one may
 * have its numbers.
 */
export function appendStatement(tables: TransportTables, list: readonly Placed[]): Statement {
  const [only] = list
  if (list.length === 1 && only !== undefined) {
    return [
      `INSERT INTO ${tables.log} (segment, part, key, meta, body)
       VALUES ((
         SELECT r.current FROM ${tables.ring} r JOIN ${tables.partition} p ON p.id = $1 AND p.destination = $5 WHERE r.tableoid = $6::text::oid
       ), $1, $2::bytea, $3::json, $4::bytea)`,
      [only.part, only.key, metaOf(only.message), only.message.body, only.message.destination, only.log],
    ]
  }
  return [
    `INSERT INTO ${tables.log} (segment, part, key, meta, body)
     SELECT ${segmentOf(tables, '$7', '$8')}, m.part,
       substr($1::bytea, m.at - m.key, m.key), m.meta, substr($1::bytea, m.at, m.body)
     FROM ROWS FROM (
       unnest($2::text::int[], $3::text::int[], $4::text::int[], $5::text::int[]), json_array_elements($6::text::json)
     ) WITH ORDINALITY AS m(part, at, key, body, meta, n)
     ORDER BY m.n`,
    [...packed(list), ...placesOf(list)],
  ]
}

/** Returns the segment to write, if all partitions and the log are as assumed. */
const segmentOf = (tables: TransportTables, logs: string, destinations: string): string =>
  `(SELECT r.current FROM ${tables.ring} r WHERE r.tableoid = ALL (${logs}::text::oid[]) AND NOT EXISTS (
       SELECT FROM json_each_text(${destinations}::text::json) w WHERE NOT EXISTS (
         SELECT FROM ${tables.partition} p WHERE p.id = w.key::int AND p.destination = w.value OFFSET 0)))`

/** Returns the logs, and the destination of each partition. */
function placesOf(list: readonly Placed[]): [logs: string, destinations: string] {
  const logs = new Set(list.map(({ log }) => log))
  const destinations = Object.fromEntries(list.map(({ part, message }) => [part, message.destination]))
  return [`{${[...logs].join()}}`, JSON.stringify(destinations)]
}

/** Packs each key followed by its body: starts of the bodies, and both lengths. Absent values have no length. */
function packed(list: readonly Placed[]): unknown[] {
  let size = 0
  for (const { key, message } of list) size += (key?.length ?? 0) + (message.body?.byteLength ?? 0)
  const data = Buffer.allocUnsafe(size)
  const starts: number[] = []
  let at = 0
  for (const { key, message } of list) {
    if (key !== null) {
      data.set(key, at)
      at += key.length
    }
    starts.push(at + 1)
    if (message.body !== null) {
      data.set(message.body, at)
      at += message.body.byteLength
    }
  }
  return [
    data,
    `{${list.map(({ part }) => part).join()}}`,
    `{${starts.join()}}`,
    `{${list.map(({ key }) => key?.length ?? 'NULL').join()}}`,
    `{${list.map(({ message: { body } }) => body?.byteLength ?? 'NULL').join()}}`,
    `[${list.map(({ message }) => metaOf(message)).join()}]`,
  ]
}

/**
 * Stores delayed messages, due by the server's clock: the client's time counts from now. Refused in another log, like
 * `appendStatement`.
 */
export function delayedStatement(tables: TransportTables, list: readonly Placed[], now: number): Statement {
  return [
    `INSERT INTO ${tables.delayed} (due, wait_ms, part, key, meta, body)
     SELECT clock_timestamp() + m.wait * interval '1 ms', m.wait,
       CASE WHEN ${segmentOf(tables, '$6', '$7')} IS NOT NULL THEN m.part END, decode(m.key, 'base64'), m.meta::json, decode(m.body, 'base64')
     FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::float8[]) WITH ORDINALITY AS m(part, key, meta, body, wait, n)
     ORDER BY m.n`,
    [
      list.map(({ part }) => part),
      list.map(({ key }) => key?.toString('base64') ?? null),
      list.map(({ message }) => metaOf(message)),
      list.map(({ message: { body } }) => (body === null ? null : toBase64(body))),
      waitsOf(list, now),
      ...placesOf(list),
    ],
  ]
}

/** Returns in how many ms the first of them is due. */
export function soonestOf(list: readonly Placed[], now: number): number {
  return Math.min(...waitsOf(list, now))
}

function waitsOf(list: readonly Placed[], now: number): number[] {
  return list.map(({ message }) => Math.max(0, (message.notBefore ?? 0) - now))
}

/** Batches of at least this size use a second INSERT, if the pool has at least this many connections. */
const LANES_FROM = 200
const CONNECTIONS_FOR_LANES = 4

/**
 * Splits a long list in two, written concurrently. A partition is in one of them, and the next list follows both, so the order of
 * a key is kept.
 */
export function lanesOf(
  list: readonly Placed[],
  { exclusive, connections = 1 }: SqlClient,
): ReadonlyArray<readonly Placed[]> {
  if (list.length < LANES_FROM || exclusive !== undefined || connections < CONNECTIONS_FOR_LANES) {
    return list.length === 0 ? [] : [list]
  }
  const lanes: [Placed[], Placed[]] = [[], []]
  for (const placed of list) lanes[(placed.part % 2) as 0 | 1].push(placed)
  return lanes.filter(({ length }) => length > 0)
}
