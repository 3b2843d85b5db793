/**
 * Outbox: messages written in the transaction that changes the data, published by a relay after it committed.
 *
 * Model: a row per message in one of P hash partitions of its key. `add` takes the row's number (`seq`) inside the
 * caller's transaction; the relay publishes what is left of a partition in the order of `seq`, and deletes it.
 *
 * Order per key holds when transactions that write messages of one key wait for each other before they call `add`, as
 * they do when each changes the row the key stands for first (`UPDATE orders ...`). Two transactions that add messages
 * of one key with nothing between them have no order to keep.
 *
 * @see docs/messages/exactly-once.md for what happens when each part dies at each moment
 */

import type { SpecOf } from '../binder/bindings/inbox.ts'
import { type Channel, requireChannel } from '../binder/channel/channel.ts'
import type { EncodedMessage } from '../binder/channel/message.ts'
import { encodeMessage, type SendOptions } from '../binder/channel/message-codec.ts'
import { SendError } from '../binder/errors.ts'
import { type AmbientHeaders, checkAmbient, withAmbient } from '../binder/sending/ambient-headers.ts'
import type { SendDestination } from '../binder/sending/destination-provisioning.ts'
import { createSpan, withTrace } from '../binder/telemetry/telemetry.ts'
import type { Transport } from '../binder/transport/transport.ts'
import { withoutCommit } from '../core/commit-with-last-statement.ts'
import { requireInteger, requireStorable } from '../core/errors.ts'
import { hasMethods, optionNames, refuseUnknown, wrongKind } from '../core/option-checks.ts'
import { throwFromOwnStatement } from '../core/own-statements.ts'
import { explainMissing, type SqlClient, type SqlTransaction } from '../core/sql.ts'
import { resolveSql, SQL_NAMES, type SqlOptions } from '../core/sql-options.ts'
import { checkTelemetry, type Telemetry } from '../core/telemetry-interface.ts'
import { OutboxError } from './errors.ts'
import { hasLogs, specOf } from './move-rows-to-log.ts'
import { notifier } from './notify.ts'
import { OutboxToLogOrder } from './outbox-to-log-order.ts'
import {
  type DropReason,
  dropHeld,
  type HeldMessage,
  listParked,
  type ParkedMessage,
  type RetryReason,
  retryHeld,
} from './parked-messages.ts'
import { insertMessages, requireDestination } from './rows.ts'
import { type OutboxStats, readStats } from './stats.ts'
import { checkOutbox, migrateOutbox, outboxTables } from './tables.ts'

/** Options of `createOutbox`: one per schema, in the database of the transactions in which messages are added. */
export interface OutboxOptions extends SqlOptions {
  /** CloudEvents `source` of what is added here. */
  readonly service: string
  /** Hash partitions: the most relays that can work at a time. Fixed once created, the same everywhere. @default 4 */
  readonly partitions?: number | undefined
  /** A larger payload is refused by `add`. Keep it under the broker's own limit. @default 1 MiB */
  readonly maxPayloadBytes?: number | undefined
  /**
   * Wakes relays in other processes by `NOTIFY`, at most once per this many ms, from a connection other than the
   * transaction's and after its commit (a `NOTIFY` inside costs business transactions up to 60 % of their rate). The
   * relay needs a `listener`. @default undefined: none
   */
  readonly notifyEveryMs?: number | undefined
  /**
   * Headers for every message that `add` writes, as the option of `createBinder`: called in the context of the caller,
   * headers given with a message win. E.g. `() => leaseHeaders()` of `concordat/locks`. @default none
   */
  readonly headers?: AmbientHeaders | undefined
  /**
   * Creates a span for each `add`, within the caller's span, and stores its context with the message: the consumer becomes part of the
   * caller's trace. From `openTelemetry()` of `concordat/core/opentelemetry`. @default none
   */
  readonly telemetry?: Telemetry | undefined
  /**
   * The service's transport. One whose messages lie in this database (`postgresTransport` on the same `sql`) gets them in
   * the transaction itself: no row of the outbox, no relay, no second copy. So do
   * those of `combineTransports` that lie there. Any other is asked whether its broker can take a message at all, so that one
   * that is too large is refused before the transaction commits. @default none
   */
  readonly transport?: Pick<Transport, 'name' | 'isOn' | 'publishIn' | 'ownerOf' | 'cannotTake'> | undefined
}

/** Messages that leave if and only if the transaction commits that added them. */
export interface Outbox {
  readonly sql: SqlClient
  readonly service: string
  readonly schema: string
  readonly partitions: number
  /** Makes or upgrades the tables. Idempotent, safe in several processes at once. @throws `outbox.partitions`, `outbox.owner` */
  migrate(): Promise<void>
  /**
   * Resolves when the tables are there, as this process expects them.
   * @throws `core.tables_missing`, `outbox.partitions`, `outbox.owner`
   */
  ready(): Promise<void>
  /**
   * Validates, encodes and writes one message in the caller's transaction: it is sent if and only if that commits, at
   * least once, under the `id` returned. `delayMs` counts from this call; the relay gives the message to the broker at
   * once, which keeps it for what is left.
   * @throws SchemaError, CodecError, TypeError, SendError (from `headers`, or the broker can never take it: too large), `outbox.too_large`,
   * `outbox.text`, `outbox.partitions`, `outbox.owner`: nothing was written and the transaction is still usable; `core.tables_missing`
   */
  add<In, Out>(
    tx: SqlTransaction,
    channel: Channel<In, Out>,
    payload: NoInfer<In>,
    options?: SendOptions,
  ): Promise<{ readonly id: string }>
  /** A message as `add` writes it, for `addEncoded`. @throws as `add`, but for what the table says */
  encode<In, Out>(channel: Channel<In, Out>, payload: NoInfer<In>, options?: SendOptions): Promise<EncodedMessage>
  /**
   * Writes messages in the order given, in one statement.
   * @param channel of all of them, where they have one: a destination that does not exist yet becomes as it says
   * @throws as `add`, but for schema and codec
   */
  addEncoded(tx: SqlTransaction, messages: readonly EncodedMessage[], channel?: SendDestination | SpecOf): Promise<void>
  /**
   * Hears of additions made through this object, with their partitions: after the commit where the transaction tells of
   * it, else (`pgTransaction`) right after the INSERT, when it is not visible yet. A hint, not a promise.
   * @returns stops it
   */
  onAdded(listener: (partitions: ReadonlySet<number>) => void): () => void
  /** Counts unpublished messages, their age, and held-back ones. Reads the tables. */
  stats(): Promise<OutboxStats>
  /** Messages the relay gave up on, oldest first. Each holds back the later messages of its key until it is resolved. */
  parked(options?: { readonly limit?: number | undefined }): Promise<readonly ParkedMessage[]>
  /**
   * Lets a failed message be tried again at once, parked or not; recorded. Ids repeat over destinations and sources: say
   * which one is meant. @returns false when there is none @throws `outbox.ambiguous` when several fit: nothing was changed
   */
  retry(which: string | HeldMessage, reason?: RetryReason): Promise<boolean>
  /**
   * Gives a failed message up, parked or not, and frees its key; it is kept whole in the audit table. @returns as `retry`
   * @throws as `retry`
   */
  drop(which: string | HeldMessage, reason: DropReason): Promise<boolean>
}

const DEFAULTS = { partitions: 4, maxPayloadBytes: 1024 * 1024 } as const

const NAMES = optionNames<OutboxOptions>({
  ...SQL_NAMES,
  service: true,
  partitions: true,
  maxPayloadBytes: true,
  notifyEveryMs: true,
  headers: true,
  telemetry: true,
  transport: true,
})

/** @throws TypeError / RangeError naming the option */
export function createOutbox(options: OutboxOptions): Outbox {
  return new SqlOutbox(options)
}

class SqlOutbox implements Outbox {
  readonly sql: SqlClient
  readonly service: string
  readonly schema: string
  readonly partitions: number
  readonly #maxPayloadBytes: number
  readonly #ambient: AmbientHeaders | undefined
  readonly #telemetry: Telemetry | undefined
  readonly #tables
  /** Messages for the part of it that lies in this database are written in the transaction itself. */
  readonly #transport: OutboxOptions['transport']
  readonly #left: OutboxToLogOrder
  readonly #listeners = new Set<(partitions: ReadonlySet<number>) => void>()

  constructor(options: OutboxOptions) {
    refuseUnknown('createOutbox', options, NAMES)
    const { sql, schema } = resolveSql('createOutbox', options)
    this.sql = sql
    this.service = requireStorable('createOutbox.service', options.service)
    this.schema = schema
    this.partitions = requireInteger('createOutbox.partitions', options.partitions ?? DEFAULTS.partitions, 1, 1_000)
    this.#maxPayloadBytes = requireInteger(
      'createOutbox.maxPayloadBytes',
      options.maxPayloadBytes ?? DEFAULTS.maxPayloadBytes,
      1,
    )
    this.#ambient = checkAmbient('createOutbox.headers', options.headers)
    this.#telemetry = checkTelemetry('createOutbox.telemetry', options.telemetry)
    this.#tables = outboxTables(this.schema)
    this.#transport = options.transport
    hasLogs(this, (destination) => this.#logOf(destination))
    this.#left = new OutboxToLogOrder(this.#tables, this.partitions, (name) => this.#logOf(name) !== undefined)
    if (options.notifyEveryMs !== undefined) {
      requireInteger('createOutbox.notifyEveryMs', options.notifyEveryMs, 0)
      this.onAdded(notifier(this.sql, this.schema, options.notifyEveryMs))
    }
  }

  async migrate(): Promise<void> {
    await migrateOutbox(this)
    if (this.#transport !== undefined) await this.#left.look(this.sql)
  }

  async ready(): Promise<void> {
    await checkOutbox(this)
    if (this.#transport !== undefined) await this.#left.look(this.sql)
  }

  async add<In, Out>(
    tx: SqlTransaction,
    channel: Channel<In, Out>,
    payload: NoInfer<In>,
    options?: SendOptions,
  ): Promise<{ readonly id: string }> {
    requireTransaction(tx)
    const message = await this.#encode('outbox.add', channel, payload, options)
    if (this.#telemetry === undefined) await this.#write(tx, [message], channel)
    else await this.#addTraced(this.#telemetry, tx, message, channel)
    return { id: message.id }
  }

  async #addTraced(
    telemetry: Telemetry,
    tx: SqlTransaction,
    message: EncodedMessage,
    place: SendDestination,
  ): Promise<void> {
    const span = createSpan(telemetry, message.destination, message.id)
    try {
      await this.#write(tx, [withTrace(message, span.context)], place)
      span.end()
    } catch (error) {
      span.end(error)
      throw error
    }
  }

  async encode<In, Out>(
    channel: Channel<In, Out>,
    payload: NoInfer<In>,
    options?: SendOptions,
  ): Promise<EncodedMessage> {
    const message = await this.#encode('outbox.encode', channel, payload, options)
    if (this.#telemetry === undefined) return message
    const span = createSpan(this.#telemetry, message.destination, message.id)
    span.end()
    return withTrace(message, span.context)
  }

  #encode<In, Out>(
    path: string,
    channel: Channel<In, Out>,
    payload: In,
    options: SendOptions | undefined,
  ): EncodedMessage | Promise<EncodedMessage> {
    const { name, transactional } = requireChannel(path, channel)
    if (transactional === true && this.#logOf(name) === undefined)
      throw wrongKind(
        `${path}("${name}")`,
        this.sql,
        'the database of a transactional channel: createOutbox({ sql, transport }) with a postgresTransport on this sql',
      )
    return encodeMessage(channel, payload, this.service, withAmbient(this.#ambient, name, options))
  }

  async addEncoded(
    tx: SqlTransaction,
    messages: readonly EncodedMessage[],
    channel?: SendDestination | SpecOf,
  ): Promise<void> {
    requireTransaction(tx)
    if (messages.length > 0) await this.#write(tx, messages, channel)
  }

  /** @param place of all of them, where it is known */
  async #write(
    tx: SqlTransaction,
    messages: readonly EncodedMessage[],
    place?: SendDestination | SpecOf,
  ): Promise<void> {
    for (const message of messages) this.#check(message)
    const left = await this.#publish(tx, messages, place)
    if (left.length === 0) return
    const partitions = await this.#insert(tx, left)
    if (tx.afterCommit === undefined) this.#hint(partitions)
    else tx.afterCommit(() => this.#hint(partitions))
  }

  /** Publishes into the log in this database. @returns messages still to be inserted: of destinations elsewhere, or behind waiting rows of their key */
  async #publish(
    tx: SqlTransaction,
    messages: readonly EncodedMessage[],
    place: SendDestination | SpecOf | undefined,
  ): Promise<readonly EncodedMessage[]> {
    if (this.#transport === undefined) return messages
    const inLogs = messages.filter(({ destination }) => this.#logOf(destination) !== undefined)
    const behind = await this.#left.behind(withoutCommit(tx), inLogs).catch(throwFromOwnStatement)
    const logs = Map.groupBy(messages, (each) => (behind.has(each) ? undefined : this.#logOf(each.destination)))
    const through = logs.size === 1 ? tx : withoutCommit(tx)
    for (const [log, its] of logs) await log?.publishIn?.(through, its, (name) => specOf(name, place))
    return logs.get(undefined) ?? []
  }

  /** The transport of this destination, if its messages lie in this database. */
  #logOf(destination: string): Pick<Transport, 'name' | 'publishIn'> | undefined {
    const transport = this.#transport?.ownerOf?.(destination) ?? this.#transport
    return transport?.publishIn !== undefined && transport.isOn?.(this.sql) === true ? transport : undefined
  }

  onAdded(listener: (partitions: ReadonlySet<number>) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  stats(): Promise<OutboxStats> {
    return readStats(this.sql, this.#tables)
  }

  parked(options: { readonly limit?: number | undefined } = {}): Promise<readonly ParkedMessage[]> {
    return listParked(this.sql, this.#tables, requireInteger('outbox.parked.limit', options.limit ?? 100, 1))
  }

  async retry(which: string | HeldMessage, reason?: RetryReason): Promise<boolean> {
    return this.#resolved(await retryHeld(this.sql, this.#tables, which, reason))
  }

  async drop(which: string | HeldMessage, reason: DropReason): Promise<boolean> {
    return this.#resolved(await dropHeld(this.sql, this.#tables, which, reason))
  }

  async #insert(tx: SqlTransaction, messages: readonly EncodedMessage[]): Promise<ReadonlySet<number>> {
    try {
      return await insertMessages(tx, this.#tables, this, messages)
    } catch (error) {
      throw explainMissing(error, this.schema, 'outbox.migrate()')
    }
  }

  #resolved(partitions: ReadonlySet<number>): boolean {
    if (partitions.size > 0) this.#hint(partitions)
    return partitions.size > 0
  }

  #hint(partitions: ReadonlySet<number>): void {
    for (const listener of this.#listeners) listener(partitions)
  }

  /** The relay could only park what the broker never takes. */
  #check(message: EncodedMessage): void {
    requireDestination('outbox.add: destination', message.destination)
    const bytes = message.body?.byteLength ?? 0
    if (bytes <= this.#maxPayloadBytes) {
      const isInLog = this.#logOf(message.destination) !== undefined
      const refused = isInLog ? undefined : this.#transport?.cannotTake?.(message)
      if (refused !== undefined) throw new SendError(message.destination, message.id, refused)
      return
    }
    throw new OutboxError('outbox.too_large', {
      destination: message.destination,
      messageId: message.id,
      bytes,
      maxBytes: this.#maxPayloadBytes,
    })
  }
}

function requireTransaction(tx: unknown): void {
  if (hasMethods(tx, ['query']) && 'inTransaction' in tx) return
  throw wrongKind('outbox.add', tx, 'the open transaction first: outbox.add(tx, channel, payload)')
}
