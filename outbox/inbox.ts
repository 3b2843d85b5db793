/**
 * Inbox: a handler's effect, the record that the message was handled, and the messages that the handler sends commit together.
 *
 * The message's name (group, channel, source, id) is inserted first in the handler's transaction. A second delivery of the same
 * message, even one that runs concurrently in another process, waits there until the first one ends: then it is a duplicate if
 * that committed, and the first if it rolled back.
 *
 * The server ends a transaction whose process sends nothing for a minute (see `handlersClient`), which limits how long a second
 * delivery waits for a frozen or disconnected process.
 *
 * Transactions are READ COMMITTED. Under REPEATABLE READ or SERIALIZABLE the insert fails with 40001 when the other delivery
 * committed meanwhile, instead of finding a duplicate: do not raise the isolation level inside a handler.
 *
 * An id is forgotten after `retentionMs`. Keep it longer than a message can take to be redelivered: the broker's retention if a
 * group can be reset to an earlier position, and the time for which dead letters wait for a redrive.
 */
import type { Inbox, InboxBatchWork, InboxMessage, InboxSharing, InboxWork, SpecOf } from '../binder/bindings/inbox.ts'
import type { EncodedMessage } from '../binder/channel/message.ts'
import { lastingContext } from '../core/async-contexts.ts'
import { type Clock, DAY, HOUR, SECOND } from '../core/clock.ts'
import { andCommit } from '../core/commit-with-last-statement.ts'
import { invalidOption, requireInteger } from '../core/errors.ts'
import { handlersClient } from '../core/idle-limited-transaction.ts'
import type { Logger } from '../core/logger.ts'
import { migrate, requireMigrated } from '../core/migrate.ts'
import { hasMethods, optionNames, refuseUnknown, wrongKind } from '../core/option-checks.ts'
import { RUNTIME_NAMES, type RuntimeOptions, resolveRuntime } from '../core/runtime-options.ts'
import { SharedTransactions } from '../core/sharing/shared-transactions.ts'
import { MAX_AGE_MS, type SqlClient, type SqlTransaction } from '../core/sql.ts'
import { resolveSql, SQL_NAMES, type SqlOptions } from '../core/sql-options.ts'
import { finishesWithin } from '../core/time-limit.ts'
import { OutboxError } from './errors.ts'
import { INBOX_PART, InboxTable, nameOf } from './inbox-table.ts'
import type { Outbox } from './outbox.ts'

/** Members of an outbox that an inbox uses. */
export type InboxOutbox = Pick<Outbox, 'addEncoded'> & Partial<Pick<Outbox, 'ready'>>

/** Options of `createInbox`, in the database of the handlers' effects. */
export interface InboxOptions extends SqlOptions, RuntimeOptions {
  /** Outbox for messages of handlers, in the same transaction. Needed for processors. */
  readonly outbox?: InboxOutbox | undefined
  /** How long a processed id is remembered, in ms; at least 1 minute. @default 7 days */
  readonly retentionMs?: number | undefined
  /** Interval of sweeps of old ids after `start`, in ms. @default 1 hour */
  readonly sweepEveryMs?: number | undefined
  /**
   * Treatment of a message whose id is known with another body, because some program copied the headers of another message.
   * `'drop'`: it is treated as a repetition, but `reusedIds` counts it and the log warns. `'accept'`: the body is part of a
   * message's name, so it is handled. Change this only when no message can be redelivered.
   * @default 'drop'
   */
  readonly reusedIds?: 'drop' | 'accept' | undefined
}

/** The result of `createInbox`: the `Inbox` that bindings take, with its maintenance. */
export interface SqlInbox extends Inbox {
  /** Creates or upgrades the table. Idempotent, safe in several processes at once. */
  migrate(): Promise<void>
  /**
   * Number of messages dropped since the start whose id was known with another body. Each was lost unless its sender meant it as
   * a repetition.
   */
  readonly reusedIds: number
  /** Deletes ids older than the retention, in batches with short locks. @returns how many */
  sweep(signal?: AbortSignal): Promise<number>
  /** Sweeps regularly, until closed. Failures are logged. @throws `outbox.closed` */
  start(): void
  /** Closes it. Idempotent, never rejects; does not wait for a database that does not answer. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** How long `close` waits for the running batch. */
const CLOSE_MS = 5 * SECOND

const NAMES = optionNames<InboxOptions>({
  ...SQL_NAMES,
  ...RUNTIME_NAMES,
  outbox: true,
  retentionMs: true,
  sweepEveryMs: true,
  reusedIds: true,
})

/** @throws TypeError / RangeError naming the option */
export function createInbox(options: InboxOptions): SqlInbox {
  return new TableInbox(options)
}

/** A message that shares a transaction. */
interface SharedMessage {
  readonly message: InboxMessage
  /** Outputs of the last call of its work, written together with those of other messages of the same binding. */
  outputs: EncodedMessage[]
  specOf?: SpecOf | undefined
}

class TableInbox implements SqlInbox {
  readonly hasOutbox: boolean
  readonly #sql: SqlClient
  readonly #schema: string
  readonly #table: InboxTable
  readonly #shared = new Map<string, SharedTransactions<SharedMessage>>()
  readonly #outbox: InboxOutbox | undefined
  readonly #retentionMs: number
  readonly #sweepEveryMs: number
  readonly #logger: Logger
  readonly #clock: Clock
  readonly #stopping = new AbortController()
  #sweeping: Promise<void> | undefined
  #reusedIds = 0

  constructor(options: InboxOptions) {
    refuseUnknown('createInbox', options, NAMES)
    if (options.outbox !== undefined && !hasMethods(options.outbox, ['addEncoded'])) {
      throw wrongKind('createInbox.outbox', options.outbox, 'what createOutbox returned')
    }
    const { sql, schema } = resolveSql('createInbox', options)
    const { logger, clock } = resolveRuntime('createInbox', options)
    this.#sql = sql
    this.#schema = schema
    this.#outbox = options.outbox
    this.hasOutbox = options.outbox !== undefined
    this.#retentionMs = requireInteger('createInbox.retentionMs', options.retentionMs ?? 7 * DAY, 60_000, MAX_AGE_MS)
    this.#sweepEveryMs = requireInteger('createInbox.sweepEveryMs', options.sweepEveryMs ?? 1 * HOUR, 1)
    this.#logger = logger
    this.#clock = clock
    const { reusedIds = 'drop' } = options
    if (reusedIds !== 'drop' && reusedIds !== 'accept')
      throw invalidOption('createInbox.reusedIds', reusedIds, "'drop' or 'accept'")
    const reused = (message: InboxMessage): void => this.#reused(message)
    this.#table = new InboxTable(this.#schema, { acceptsReusedIds: reusedIds === 'accept', reused })
  }

  get reusedIds(): number {
    return this.#reusedIds
  }

  #reused({ group, destination: channel, source, id }: InboxMessage): void {
    this.#reusedIds++
    this.#logger.warn(
      { group, channel, source, messageId: id, reusedIds: this.#reusedIds },
      'message dropped: its id is known with another body. Its sender copies the headers of other messages: see "Copying headers into new messages" in docs/reference/wire-format.md',
    )
  }

  migrate(): Promise<void> {
    return migrate(this.#sql, this.#schema, INBOX_PART.name, INBOX_PART.migrations)
  }

  async ready(): Promise<void> {
    await requireMigrated(this.#sql, this.#schema, INBOX_PART)
    await this.#outbox?.ready?.()
  }

  async process(message: InboxMessage, work: InboxWork, how?: InboxSharing): Promise<'processed' | 'duplicate'> {
    const sql = handlersClient(this.#sql, how?.slowAfterMs)
    if (how?.sharesTransactions !== true) return this.#processAlone(sql, message, work)
    let outcome: 'processed' | 'duplicate' = 'duplicate'
    const item: SharedMessage = { message, outputs: [] }
    await this.#sharedBy(message, sql).run(
      item,
      async (timed) => {
        outcome = await this.#processAlone(sql, message, (tx, emit) => timed(() => work(tx, emit)))
      },
      async (tx) => {
        item.outputs = []
        await work(tx, async (outputs, specOf) => {
          if (this.#outbox === undefined) throw new OutboxError('outbox.inbox_without_outbox', { group: message.group })
          item.outputs.push(...outputs)
          item.specOf = specOf
        })
        outcome = 'processed'
      },
    )
    return outcome
  }

  processBatch(messages: readonly InboxMessage[], work: InboxBatchWork, how?: InboxSharing): Promise<void> {
    const group = messages[0]?.group ?? ''
    return handlersClient(this.#sql, how?.slowAfterMs).transaction(async (tx) => {
      const isFresh = await this.#table.enterAll(tx, messages)
      const fresh = [...isFresh.keys()].filter((index) => isFresh[index] === true)
      await work(tx, fresh, (outputs, specOf) => this.#emit(tx, group, outputs, specOf))
    })
  }

  #processAlone(sql: SqlClient, message: InboxMessage, work: InboxWork): Promise<'processed' | 'duplicate'> {
    return sql.transaction(async (tx) => {
      if (!(await this.#table.enter(tx, message))) return 'duplicate'
      await work(tx, (outputs, specOf) => this.#emit(tx, message.group, outputs, specOf))
      return 'processed'
    })
  }

  /** Shared transactions per binding, because the duration of its handler says nothing about others. */
  #sharedBy({ group, destination }: InboxMessage, sql: SqlClient): SharedTransactions<SharedMessage> {
    const name = nameOf(group, destination)
    let shared = this.#shared.get(name)
    if (shared !== undefined) return shared
    shared = new SharedTransactions<SharedMessage>(sql, this.#clock, {
      nameOf: ({ message }) => nameOf(message.source, message.id),
      open: (tx, items) =>
        this.#table.enterAll(
          tx,
          items.map(({ message }) => message),
        ),
      close: async (tx, done, undone) => {
        if (undone.length > 0)
          await this.#table.forget(
            tx,
            undone.map(({ message }) => message),
          )
        const outputs = done.flatMap((item) => item.outputs)
        const specOf = done.find((item) => item.specOf !== undefined)?.specOf
        if (outputs.length > 0) await this.#outbox?.addEncoded(andCommit(tx), outputs, specOf)
      },
    })
    this.#shared.set(name, shared)
    return shared
  }

  sweep(signal?: AbortSignal): Promise<number> {
    return this.#table.sweep(this.#sql, this.#retentionMs, signal)
  }

  start(): void {
    if (this.#stopping.signal.aborted) throw new OutboxError('outbox.closed', { part: 'inbox', make: 'createInbox()' })
    this.#sweeping ??= lastingContext()(() => this.#sweepForEver(this.#stopping.signal))
  }

  async close(): Promise<void> {
    this.#stopping.abort()
    if (this.#sweeping !== undefined) await finishesWithin(this.#clock, CLOSE_MS, this.#sweeping)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #emit(
    tx: SqlTransaction,
    group: string,
    outputs: readonly EncodedMessage[],
    specOf: SpecOf | undefined,
  ): Promise<void> {
    if (this.#outbox === undefined) throw new OutboxError('outbox.inbox_without_outbox', { group })
    await this.#outbox.addEncoded(tx, outputs, specOf)
  }

  async #sweepForEver(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        const swept = await this.sweep(signal)
        if (swept > 0) this.#logger.debug({ swept }, 'inbox swept')
      } catch (error) {
        this.#logger.warn({ err: error }, 'inbox sweep failed, the next one is in sweepEveryMs')
      }
      await this.#clock.sleep(this.#sweepEveryMs, signal).catch(() => undefined)
    }
  }
}
