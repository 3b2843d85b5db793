/**
 * Signal messages stored by instances that have not loaded a version that may wait for them, for an instance that has it. A
 * message that failed `ATTEMPTS` times keeps its row, without `due_at`. Once its version has no open saga, no saga can receive
 * it, and its row is deleted.
 */
import type { EncodedMessage, HeaderValue } from '../../binder/channel/message.ts'
import { VERSION_HEADER } from '../../binder/channel/payload-version.ts'
import { DAY, HOUR } from '../../core/clock.ts'
import { newId } from '../../core/ids.ts'
import { type OwnQuery, quoteIdentifier, type SqlExecutor } from '../../core/sql.ts'
import { sagaQuery, type Track } from './saga-row-columns.ts'
import type { SagaVersion } from './store-types.ts'

/** Same number of attempts as for a message read from its channel. */
const ATTEMPTS = 13
/** A message may arrive before its saga is started. */
const KEPT_MS = 1 * HOUR
/** How long a failed message is kept, for operators. */
const FAILED_KEPT_MS = 7 * DAY
const SWEEP_BATCH = 1_000
/** Maximum number of rows in a count. */
const MOST_COUNTED = 100_000

/** A version that has open sagas and a step which waits for messages of the channel. */
export interface Listener extends SagaVersion {
  readonly channel: string
}

export interface LeftMessage extends Listener {
  readonly id: string
  readonly message: EncodedMessage
  /** True if the message is not tried again. */
  readonly isLast: boolean
}

/** Messages that wait for an instance with a version. */
export interface LeftMessageCount extends SagaVersion {
  readonly count: number
  /** Number of messages that could not be applied, and are not tried again. */
  readonly failed: number
}

export class LeftMessageStore {
  readonly #query: OwnQuery
  readonly #saga: string
  readonly #definition: string
  readonly #message: string

  constructor(schema: string, track: Track) {
    const quoted = quoteIdentifier(schema)
    this.#query = sagaQuery(schema, track)
    this.#saga = `${quoted}.saga`
    this.#definition = `${quoted}.saga_definition`
    this.#message = `${quoted}.saga_message`
  }

  /** Returns the versions, other than the loaded ones, whose open sagas may wait for messages of these channels. */
  async listeners(
    sql: SqlExecutor,
    channels: readonly string[],
    loaded: readonly SagaVersion[],
  ): Promise<readonly Listener[]> {
    const { rows } = await this.#query<Listener>(
      sql,
      `SELECT d.name, d.version, c.channel
       FROM ${this.#definition} d JOIN unnest($1::text[]) AS c(channel) ON EXISTS (
         SELECT FROM jsonb_each_text(d.signals) AS s WHERE s.value = c.channel)
       WHERE (d.name, d.version) NOT IN (SELECT * FROM unnest($2::text[], $3::int[])) AND EXISTS (
         SELECT FROM ${this.#saga} s WHERE s.name = d.name AND s.version = d.version AND s.ended_at IS NULL)`,
      [channels, loaded.map(({ name }) => name), loaded.map(({ version }) => version)],
    )
    return rows
  }

  async leave(sql: SqlExecutor, listeners: readonly Listener[], message: EncodedMessage): Promise<void> {
    await this.#query(
      sql,
      `INSERT INTO ${this.#message} (id, name, version, channel, message)
       SELECT i.*, $5::bytea FROM unnest($1::text[], $2::text[], $3::int[], $4::text[]) AS i`,
      [
        listeners.map(() => newId()),
        listeners.map(({ name }) => name),
        listeners.map(({ version }) => version),
        listeners.map(({ channel }) => channel),
        toBytes(message),
      ],
    )
  }

  /**
   * Takes messages stored for these versions, for `leaseMs`. A message that is due later than its lease allows is due now,
   * because the server's clock was set back since. The comparison uses the current clock: a row that another instance takes
   * during the statement is checked again, and its time may be later than the start of the statement by more than the lease.
   */
  async take(
    sql: SqlExecutor,
    leaseMs: number,
    versions: readonly SagaVersion[],
    limit: number,
  ): Promise<readonly LeftMessage[]> {
    const { rows } = await this.#query<Omit<LeftMessage, 'message'> & { readonly message: Uint8Array }>(
      sql,
      `UPDATE ${this.#message} SET attempts = attempts + 1, lease_ms = $1,
         due_at = CASE WHEN attempts + 1 < ${ATTEMPTS} THEN clock_timestamp() + $1 * interval '1 millisecond' END
       WHERE id IN (
         SELECT id FROM ${this.#message}
         WHERE (due_at <= (SELECT clock_timestamp()) OR due_at > clock_timestamp() + lease_ms * interval '1 millisecond')
           AND (name, version) IN (SELECT * FROM unnest($2::text[], $3::int[]))
         ORDER BY id LIMIT $4 FOR UPDATE SKIP LOCKED)
       RETURNING id, name, version, channel, message, due_at IS NULL AS "isLast"`,
      [leaseMs, versions.map(({ name }) => name), versions.map(({ version }) => version), limit],
    )
    return rows.map((row) => ({ ...row, message: toMessage(row.channel, row.message) }))
  }

  async remove(sql: SqlExecutor, { id }: LeftMessage): Promise<void> {
    await this.#query(sql, `DELETE FROM ${this.#message} WHERE id = $1`, [id])
  }

  /** Deletes messages whose version has no open saga, at most one batch. */
  async sweep(sql: SqlExecutor): Promise<void> {
    await this.#query(
      sql,
      `DELETE FROM ${this.#message} WHERE id IN (
         SELECT id FROM ${this.#message} m
         WHERE left_at < (SELECT clock_timestamp()) - CASE WHEN due_at IS NULL THEN ${FAILED_KEPT_MS} ELSE ${KEPT_MS} END
             * interval '1 millisecond'
           AND NOT EXISTS (SELECT FROM ${this.#saga} s WHERE s.name = m.name AND s.version = m.version AND s.ended_at IS NULL)
         LIMIT ${SWEEP_BATCH} FOR UPDATE SKIP LOCKED)`,
    )
  }

  /** Counts messages by version. */
  async count(sql: SqlExecutor): Promise<readonly LeftMessageCount[]> {
    const { rows } = await this.#query<LeftMessageCount>(
      sql,
      `SELECT name, version, count(*)::int AS count, count(*) FILTER (WHERE due_at IS NULL)::int AS failed
       FROM (SELECT name, version, due_at FROM ${this.#message} LIMIT ${MOST_COUNTED}) m GROUP BY name, version`,
    )
    return rows
  }
}

/** Fields that decoding needs, as bytes, because a column of text or JSON would refuse some keys. */
interface Kept extends Pick<EncodedMessage, 'id' | 'key' | 'contentType'> {
  readonly payloadVersion?: HeaderValue | undefined
  /** Base64. */
  readonly body: string | null
}

function toBytes({ id, key, contentType, headers, body }: EncodedMessage): Uint8Array {
  const payloadVersion = headers[VERSION_HEADER]
  const text = body === null ? null : Buffer.from(body).toString('base64')
  return Buffer.from(JSON.stringify({ id, key, contentType, payloadVersion, body: text } satisfies Kept))
}

function toMessage(channel: string, bytes: Uint8Array): EncodedMessage {
  const { payloadVersion, body, ...kept } = JSON.parse(Buffer.from(bytes).toString()) as Kept
  return {
    ...kept,
    destination: channel,
    type: channel,
    source: '',
    time: 0,
    headers: payloadVersion === undefined ? {} : { [VERSION_HEADER]: payloadVersion },
    body: body === null ? null : Buffer.from(body, 'base64'),
  }
}
