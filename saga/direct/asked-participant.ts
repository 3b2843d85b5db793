/** A participant that is called without a binder: the same declaration and fence, but the caller receives the reply. */
import type { HandlerContext } from '../../binder/bindings/handler-types.ts'
import type { Channel } from '../../binder/channel/channel.ts'
import type { EncodedMessage } from '../../binder/channel/message.ts'
import { decodePayload } from '../../binder/channel/message-codec.ts'
import type { Clock } from '../../core/clock.ts'
import { toError } from '../../core/errors.ts'
import { newId } from '../../core/ids.ts'
import { type Logger, withFields } from '../../core/logger.ts'
import { DEFAULT_SCHEMA, requireSqlClient, type SqlClient } from '../../core/sql.ts'
import { checkTelemetry, type Telemetry } from '../../core/telemetry-interface.ts'
import { Barrier } from '../participant/barrier.ts'
import { type DeclaredParticipant, limitedDatabase } from '../participant/binding.ts'
import { CommandHandler, keptParts } from '../participant/command-handler.ts'
import type { ReplyOutbox } from '../participant/reply-outbox-interface.ts'
import { SharedCommandTransactions } from '../participant/shared-command-transaction.ts'
import type { SagaReply } from '../wire/reply.ts'

/** Options of a participant that is called without a broker; the declaration provides the defaults. */
export interface AskedOptions {
  /**
   * Database of the participant, or of all in a list, with the tables of `migrateParticipant`. @default the database of the
   * declaration
   */
  readonly sql?: SqlClient | undefined
  /** Schema in which `migrateParticipant` created the barrier. @default the schema of the declaration, else 'concordat' */
  readonly schema?: string | undefined
  /** Records a span for each command, in the trace of its `traceparent`. @default the telemetry of the declaration */
  readonly telemetry?: Telemetry | undefined
}

/** Names of these options, for the options of a factory. */
export const ASKED_NAMES: Readonly<Record<keyof AskedOptions, true>> = { sql: true, schema: true, telemetry: true }

/** Transport of the calls. */
export interface AskedBy {
  /** For error messages: the function and the channel. */
  readonly path: string
  /** Position of the message that handlers see: `http`. */
  readonly position: string
  readonly concurrency: number
  /** Commands that are ready together may share a transaction, if the declaration allows it. */
  readonly mayShare: boolean
  readonly clock: Clock
  readonly logger: Logger
}

export class AskedParticipant {
  /** Database in which it leaves prepared transactions. */
  readonly prepares: object | undefined
  readonly #declared: DeclaredParticipant
  readonly #by: AskedBy
  readonly #handler: (outbox: ReplyOutbox) => CommandHandler<unknown>
  readonly #check: () => Promise<void>
  #ready: Promise<void> | undefined

  constructor(declared: DeclaredParticipant, given: AskedOptions, by: AskedBy) {
    const { path } = by
    const { options, side } = declared
    const sql = requireSqlClient(`${path}.sql`, given.sql ?? options.sql)
    const schema = given.schema ?? options.schema ?? DEFAULT_SCHEMA
    const barrier = new Barrier(schema)
    // Each call that waits for a row may hold a connection.
    const concurrency = Math.min(by.concurrency, sql.connections ?? Number.POSITIVE_INFINITY)
    const database = limitedDatabase(sql, options.slowAfterMs, { schema, concurrency })
    const { sql: limited } = database
    const duties = side.duties(barrier, database)
    this.#check = async () => {
      await barrier.ready(sql)
      await side.ready?.(sql)
    }
    this.prepares = side.prepares?.(sql)
    this.#declared = declared
    this.#by = by
    const isSharing = by.mayShare && options.sharesTransactions === true && by.concurrency > 1
    const parts = {
      sql: limited,
      messages: options.outbox,
      duties,
      kind: side.kind,
      madeBy: side.path.slice(0, side.path.indexOf('(')),
      // The coordinator repeats the call, with its own pauses.
      maxAttempts: 1,
      clock: by.clock,
      telemetry: checkTelemetry(`${path}.telemetry`, given.telemetry ?? options.telemetry),
      ...keptParts(by.clock),
      shared: isSharing ? new SharedCommandTransactions(limited, by.clock, barrier) : undefined,
    }
    this.#handler = (outbox) => new CommandHandler({ ...parts, outbox })
  }

  /** Resolves after the commit of the reply. @throws when there is none; a repeated call may have one */
  async answer(message: EncodedMessage, signal: AbortSignal): Promise<SagaReply> {
    await this.ready()
    let reply: SagaReply | undefined
    // The last one belongs to the committed transaction.
    const handler = this.#handler({
      add: async (_, __, payload) => {
        reply = payload as unknown as SagaReply
        return { id: message.id }
      },
    })
    const context = this.#contextOf(message, signal)
    const read = await this.#read(message)
    if ('payload' in read) await handler.handle(read.payload, context)
    else await handler.unreadable(read.unreadable, context)
    if (reply === undefined) throw new Error('the command has no answer')
    return reply
  }

  /**
   * Checks the database before the first command, as a binding does before its first message. @throws when the database is unfit;
   * it may become fit later
   */
  async ready(): Promise<void> {
    this.#ready ??= this.#check()
    await this.#ready.catch((error: unknown) => {
      this.#ready = undefined
      throw error
    })
  }

  async #read(message: EncodedMessage): Promise<{ readonly payload: unknown } | { readonly unreadable: Error }> {
    const channel: Channel = this.#declared.channel
    const isTombstone = channel.tombstones === true && message.body?.byteLength === 0
    try {
      return { payload: await decodePayload(channel, isTombstone ? { ...message, body: null } : message) }
    } catch (error) {
      return { unreadable: toError(error) }
    }
  }

  #contextOf({ id, key, headers, time, source }: EncodedMessage, signal: AbortSignal): HandlerContext {
    const { channel, options } = this.#declared
    const { clock, logger, position } = this.#by
    const own = id === '' ? newId() : id
    return {
      id: own,
      channel: channel.name,
      key,
      headers,
      time: time === 0 ? clock.now() : time,
      source,
      attempt: 1,
      group: options.group,
      position,
      redelivered: undefined,
      signal,
      log: withFields(logger, { messageId: own, channel: channel.name }),
    }
  }
}
