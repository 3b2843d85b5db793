/**
 * Outbox: messages are written in the transaction that changes the data, and a relay publishes them after the commit.
 *
 * Model: one row per message, in one of P hash partitions by key. `add` takes the row's number (`seq`) inside the caller's
 * transaction; the relay publishes the rows of a partition in the order of `seq` and deletes them.
 *
 * Order per key is kept if transactions that write messages with the same key wait for each other before they call `add`. This is
 * so if each of them first changes the row that the key stands for (`UPDATE orders ...`). Without that, messages that two
 * transactions add under one key have no defined order.
 * @see docs/messages/exactly-once.md for what happens when each part fails at each moment
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

/** Options of `createOutbox`. Create one outbox per schema, in the database in whose transactions messages are added. */
export interface OutboxOptions extends SqlOptions {
  /** CloudEvents `source` of the messages added here. */
  readonly service: string
  /**
   * Number of hash partitions, which is the maximum number of relays working in parallel. It cannot be changed later and must be
   * the same in all processes. @default 4
   */
  readonly partitions?: number | undefined
  /** Maximum payload size; `add` refuses larger payloads. Keep it below the broker's own limit. @default 1 MiB */
  readonly maxPayloadBytes?: number | undefined
  /**
   * Wakes relays in other processes by `NOTIFY`, at most once per this interval in ms. The `NOTIFY` is sent after the commit, on
   * a separate connection, because a `NOTIFY` inside the transaction reduces the rate of business transactions by up to 60 %. The
   * relay needs a `listener`. @default undefined: no `NOTIFY`
   */
  readonly notifyEveryMs?: number | undefined
  /**
   * Headers for every message that `add` writes, like the option of `createBinder`: called in the caller's context; headers
   * passed with a message take precedence. E.g. `() => leaseHeaders()` from `concordat/locks`. @default none
   */
  readonly headers?: AmbientHeaders | undefined
  /**
   * Creates a span for each `add` within the caller's span, and stores its context with the message, so that the consumer is part
   * of the caller's trace. From `openTelemetry()` of `concordat/core/opentelemetry`. @default none
   */
  readonly telemetry?: Telemetry | undefined
  /**
   * The service's transport. A transport that stores its messages in this database (`postgresTransport` on the same `sql`, also
   * within `combineTransports`) receives them in the transaction itself: no outbox row, no relay and no second copy. Any other
   * transport is asked whether its broker can accept the message, so that a message that is too large is refused before the
   * commit. @default none
   */
  readonly transport?: Pick<Transport, 'name' | 'isOn' | 'publishIn' | 'ownerOf' | 'cannotTake'> | undefined
}

/** Sends messages if and only if the transaction that added them commits. */
export interface Outbox {
  readonly sql: SqlClient
  readonly service: string
  readonly schema: string
  readonly partitions: number
  /**
   * Creates or upgrades the tables. Idempotent, safe in several processes at once. @throws `outbox.partitions`, `outbox.owner`
   */
  migrate(): Promise<void>
  /**
   * Resolves when the tables exist and have the version that this process expects.
   * @throws `core.tables_missing`, `outbox.partitions`, `outbox.owner`
   */
  ready(): Promise<void>
  /**
   * Validates, encodes and writes one message in the caller's transaction. It is sent at least once, under the returned `id`, if
   * and only if the transaction commits. `delayMs` counts from this call: the relay passes the message to the broker at once, and
   * the broker keeps it for the remaining time.
   * @throws SchemaError, CodecError, TypeError, SendError (from `headers`, or because the message is too large for the broker),
   * `outbox.too_large`, `outbox.text`, `outbox.partitions`, `outbox.owner`: nothing was written and the transaction can still be
   * used; `core.tables_missing`
   */
  add<In, Out>(
    tx: SqlTransaction,
    channel: Channel<In, Out>,
    payload: NoInfer<In>,
    options?: SendOptions,
  ): Promise<{ readonly id: string }>
  /** Encodes a message as `add` does, for `addEncoded`. @throws the errors of `add`, except those about tables */
  encode<In, Out>(channel: Channel<In, Out>, payload: NoInfer<In>, options?: SendOptions): Promise<EncodedMessage>
  /**
   * Writes messages in the given order, in one statement.
   * @param channel the channel of all these messages, if they have one; missing destinations are created with its settings
   * @throws the errors of `add`, except those about schema and codec
   */
  addEncoded(tx: SqlTransaction, messages: readonly EncodedMessage[], channel?: SendDestination | SpecOf): Promise<void>
  /**
   * Calls `listener` with the partitions of messages added through this object: after the commit if the transaction reports it;
   * otherwise (`pgTransaction`) right after the INSERT, when the rows are not visible yet. Only a hint.
   * @returns a function that stops it
   */
  onAdded(listener: (partitions: ReadonlySet<number>) => void): () => void
  /** Reads from the tables the number of unpublished messages, their age, and the number of held-back messages. */
  stats(): Promise<OutboxStats>
  /** Messages that the relay parked, oldest first. Each holds back the later messages of its key until it is resolved. */
  parked(options?: { readonly limit?: number | undefined }): Promise<readonly ParkedMessage[]>
  /**
   * Lets a failed message, parked or not, be tried again at once; recorded in the audit table. The same id can exist for several
   * destinations and sources; specify which message is meant. @returns false if there is none @throws `outbox.ambiguous` if
   * several match: nothing was changed
   */
  retry(which: string | HeldMessage, reason?: RetryReason): Promise<boolean>
  /**
   * Drops a failed message, parked or not, and frees its key; the audit table keeps the whole message. @returns as `retry`
   * @throws the errors of `retry`
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

/** @throws TypeError / RangeError with the name of the option */
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
  /** Messages for the part of it that is in this database are written in the transaction itself. */
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
    if (transactional === true) this.#requireLog(path, name)
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

  /** @param place of all messages, if known */
  async #write(
    tx: SqlTransaction,
    messages: readonly EncodedMessage[],
    place?: SendDestination | SpecOf,
  ): Promise<void> {
    for (const message of messages) {
      this.#check(message)
      if (place !== undefined && specOf(message.destination, place).transactional === true)
        this.#requireLog('outbox.add', message.destination)
    }
    const left = await this.#publish(tx, messages, place)
    if (left.length === 0) return
    const partitions = await this.#insert(tx, left)
    if (tx.afterCommit === undefined) this.#hint(partitions)
    else tx.afterCommit(() => this.#hint(partitions))
  }

  /**
   * Publishes into the log in this database. @returns messages that still need an outbox row: their destination is elsewhere, or
   * earlier messages of their key are waiting
   */
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

  /** The transport of this destination, if it stores its messages in this database. */
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

  /** A row would reach a transactional channel through the relay, perhaps twice, so the binder refuses it there. @throws TypeError */
  #requireLog(path: string, name: string): void {
    if (this.#logOf(name) !== undefined) return
    throw wrongKind(
      `${path}("${name}")`,
      this.sql,
      'the database of a transactional channel: createOutbox({ sql, transport }) with a postgresTransport on this sql',
    )
  }

  /** Refuses here what the relay could only park: messages that the broker never accepts. */
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
