/**
 * The other side of a command: effect, deduplication and reply in one transaction of the participant's database.
 *
 * - `Refusal` from `invoke` is a definite no: what the handler wrote is rolled back, the refusal is kept and answered in
 *   a second transaction. A crash between the two leaves nothing: the command comes again and is decided again.
 * - Any other error rolls back and is retried here first (the binding's `maxAttempts`, blocking). After the last attempt,
 *   or at once with `retryable === false`, the answer is `failed`: the coordinator asks again, or compensates. A command
 *   is therefore not dead-lettered because its handler failed; only when the database does not take the answer either,
 *   and then the coordinator's timeout asks again.
 */

import { sink } from '../../binder/bindings/binding.ts'
import type { NameOptions } from '../../binder/bindings/binding-name.ts'
import { type HandlerContext } from '../../binder/bindings/contexts.ts'
import type { ServiceParts } from '../../binder/bindings/declarations.ts'
import { type ConsumerOptions, type SinkBinding } from '../../binder/bindings/declarations.ts'
import { type Channel, checkName, requireChannel } from '../../binder/channel/channel.ts'
import type { SendOptions } from '../../binder/channel/encode.ts'
import { invalidOption, isRetryable, requireInteger } from '../../core/errors.ts'
import { hasMethods, optionNames, refuseUnknown, wrongKind } from '../../core/options.ts'
import { DEFAULT_SCHEMA, requireSqlClient, type SqlClient, type SqlTransaction } from '../../core/sql.ts'
import { checkTelemetry, type Telemetry } from '../../core/telemetry.ts'
import { readTraceContext, type TraceContext, traceHeaders } from '../../core/trace-context.ts'
import { describeError, isRefusal } from '../coordinator/outcome.ts'
import { callAttributes, sagaAttributes } from '../coordinator/telemetry.ts'
import { stored } from '../json.ts'
import { inSaga } from '../wire/context.ts'
import { type SagaReply } from '../wire/reply.ts'
import { type CommandHeaders, REPLIES, readCommandHeaders, replyChannel } from '../wire/wire.ts'
import { Barrier, type BarrierEntry } from './barrier.ts'

export interface ParticipantOptions extends Omit<ConsumerOptions, 'retryable' | 'onFailure'> {
  readonly group: string
  /**
   * The participant's own database: the barrier, the handlers' effects and the replies commit together.
   * @default that of the service it is declared in
   */
  readonly sql?: SqlClient | undefined
  /** Of the same database. Made by `createOutbox`; its relay sends the replies. @default that of the service */
  readonly outbox?: ReplyOutbox | undefined
  /** Where `migrateParticipant` put the barrier. @default 'concordat' */
  readonly schema?: string | undefined
  /** A span with the saga's name, id and step for each call, in the saga's trace; the reply goes on with it. @default none */
  readonly telemetry?: Telemetry | undefined
}

/** What a participant needs of the outbox. */
export interface ReplyOutbox {
  /** As `Outbox.ready`. */
  ready?(): Promise<void>
  add<In, Out>(tx: SqlTransaction, channel: Channel<In, Out>, payload: In, options?: SendOptions): Promise<unknown>
}

export interface ParticipantContext {
  /** Write the effect through it; have no other effect, or deduplicate that by `key`. */
  readonly tx: SqlTransaction
  /**
   * `<saga>/<id>/<step>`: the same in every repetition and in the compensation. Two services may have sagas of one name
   * and id, and an id may be started again after its saga was deleted: where these meet add `service` and `birth`.
   */
  readonly key: string
  /** The service of the coordinator: the reply channel without `.saga-replies`. */
  readonly service: string
  /** Tells the saga from an earlier one with its id; `undefined` when its coordinator does not say. */
  readonly birth: string | undefined
  readonly saga: string
  readonly sagaId: string
  readonly step: string
  /** The message: its signal, its log, its headers. */
  readonly message: HandlerContext
}

export interface ParticipantHandlers<Request> {
  /** Does it. Returns the reply's result (JSON). Throw a `Refusal` to say no. */
  readonly invoke: (request: Request, context: ParticipantContext) => unknown
  /** Undoes it: called once, and only when `invoke` was committed or failed. Must not refuse. */
  readonly compensate: (request: Request, context: ParticipantContext) => void | Promise<void>
}

const NAMES = optionNames<ParticipantOptions>({
  group: true,
  sql: true,
  outbox: true,
  schema: true,
  telemetry: true,
  name: true,
  concurrency: true,
  maxAttempts: true,
  backoff: true,
  retry: true,
  prefetch: true,
  prefetchBytes: true,
  autoStart: true,
  middleware: true,
  rateLimit: true,
  circuitBreaker: true,
})

const DEFAULT_ATTEMPTS = 3

/**
 * A sink for a command channel. The binder's `sends` needs the reply channel: `sagaReplies('orders')`.
 * @throws TypeError / RangeError naming the option
 */
export function participant<
  In,
  Out,
  At extends string = string,
  Group extends string = string,
  Name extends string = `${At}.${Group}`,
>(
  channel: Channel<In, Out, At>,
  options: ParticipantOptions & NameOptions<Group, Name>,
  handlers: ParticipantHandlers<Out>,
): SinkBinding<NoInfer<Name>> {
  const path = `participant("${requireChannel('participant', channel).name}")`
  refuseUnknown(path, options, NAMES)
  const { sql, outbox, schema = DEFAULT_SCHEMA, telemetry: given, ...consumer } = options
  const telemetry = checkTelemetry(`${path}.telemetry`, given)
  checkName(`${path}.group`, options.group, 100)
  const isOfService = sql === undefined && outbox === undefined
  if (!isOfService) requireSqlClient(`${path}.sql`, sql)
  if (!isOfService && !hasMethods(outbox, ['add']))
    throw wrongKind(`${path}.outbox`, outbox, 'what createOutbox returns')
  for (const name of ['invoke', 'compensate'] as const) {
    if (typeof handlers?.[name] !== 'function') throw invalidOption(`${path}.${name}`, handlers?.[name], 'a function')
  }
  const maxAttempts = requireInteger(`${path}.maxAttempts`, options.maxAttempts ?? DEFAULT_ATTEMPTS, 1)
  if (sql === undefined || outbox === undefined) {
    const unbound: Omit<SinkBinding, 'named'> = sink<In, Out>(channel, { ...consumer, maxAttempts }, () =>
      Promise.reject(new Error(`${path} was not completed by a service`)),
    )
    const complete = (parts: ServiceParts): SinkBinding =>
      participant(channel, { telemetry: parts.telemetry, ...options, ...pick(parts, options) }, handlers)
    return Object.freeze({ ...unbound, complete })
  }
  const barrier = new Barrier(schema)
  const side = new Participant(sql, outbox, barrier, handlers, maxAttempts, telemetry)
  const binding: Omit<SinkBinding, 'named'> = sink<In, Out>(channel, { ...consumer, maxAttempts }, (request, context) =>
    side.handle(request, context),
  )
  return Object.freeze({
    ...binding,
    unreadable: (error: Error, context: HandlerContext) => side.unreadable(error, context),
    ready: async () => {
      await barrier.ready(sql)
      await outbox.ready?.()
    },
  })
}

/** What a participant takes of its service; a schema of its own wins. */
function pick({ sql, outbox, schema }: ServiceParts, own: ParticipantOptions) {
  return { sql, outbox, schema: own.schema ?? schema }
}

class Participant<Request> {
  readonly #sql: SqlClient
  readonly #outbox: ReplyOutbox
  readonly #barrier: Barrier
  readonly #handlers: ParticipantHandlers<Request>
  readonly #maxAttempts: number
  readonly #telemetry: Telemetry | undefined

  constructor(
    sql: SqlClient,
    outbox: ReplyOutbox,
    barrier: Barrier,
    handlers: ParticipantHandlers<Request>,
    maxAttempts: number,
    telemetry: Telemetry | undefined,
  ) {
    this.#sql = sql
    this.#outbox = outbox
    this.#barrier = barrier
    this.#handlers = handlers
    this.#maxAttempts = maxAttempts
    this.#telemetry = telemetry
  }

  /** Resolves after the commit that holds the answer. */
  async handle(request: Request, message: HandlerContext): Promise<void> {
    const command = readCommandHeaders(message.headers)
    if (command === undefined) throw new NotACommand(message)
    const { saga, sagaId, step, operation, key } = command
    const work = () => inSaga({ saga, sagaId, step, operation, key }, () => this.#answer(request, command, message))
    if (this.#telemetry === undefined) await work()
    else await this.#traced(this.#telemetry, command, message, work)
  }

  /**
   * The payload does not fit the channel. Who sent it hears that it failed for good; nothing was done, so there is nothing
   * to undo. Without valid saga headers nobody waits for an answer.
   */
  async unreadable(error: Error, message: HandlerContext): Promise<void> {
    const command = readCommandHeaders(message.headers)
    if (command === undefined) return
    const { code, message: text } = describeError(error)
    message.log.warn({ sagaKey: command.key, operation: command.operation, code }, 'saga command not readable')
    const failed: SagaReply = { ...head(command), status: 'failed', final: true, code, message: text }
    await this.#sql.transaction(async (tx) => {
      const reply =
        command.operation === 'invoke'
          ? await this.#neverDone(tx, command, failed)
          : await this.#notUndone(tx, command, failed)
      await this.#send(tx, command, reply)
    })
  }

  async #neverDone(tx: SqlTransaction, command: CommandHeaders, failed: SagaReply): Promise<SagaReply> {
    const entry = await this.#barrier.enter(tx, command, 'invoke', 'refused')
    const known = answered(command, entry)
    if (known !== undefined) return known
    // After an attempt that failed, maybe with an effect, it stays one that has to be undone.
    await this.#barrier.keep(tx, entry, hasEffect(entry) ? 'final' : 'refused', failed, command.round)
    return failed
  }

  /** What was never done is undone without its payload. */
  async #notUndone(tx: SqlTransaction, command: CommandHeaders, failed: SagaReply): Promise<SagaReply> {
    const invoked = await this.#barrier.enter(tx, command, 'invoke', 'cancelled')
    if (hasEffect(invoked)) return failed
    const reply: SagaReply = { ...head(command), status: 'ok' }
    const entry = await this.#barrier.enter(tx, command, 'compensate', 'ok')
    if (!invoked.isNew) await this.#barrier.cancelInvoke(tx, invoked)
    await this.#barrier.keep(tx, entry, 'ok', reply, command.round)
    return reply
  }

  /** @returns what went wrong, when it was answered all the same */
  async #answer(request: Request, command: CommandHeaders, message: HandlerContext): Promise<unknown> {
    try {
      await this.#sql.transaction((tx) => this.#decide(tx, request, command, message))
      return undefined
    } catch (error) {
      await this.#answerError(command, message, error)
      return error
    }
  }

  /** One span around the call and its answer. */
  async #traced(
    telemetry: Telemetry,
    command: CommandHeaders,
    message: HandlerContext,
    work: () => Promise<unknown>,
  ): Promise<void> {
    const span = telemetry.span(`${command.operation} ${command.saga}/${command.step}`, {
      kind: 'internal',
      parent: parentIn(telemetry, message),
      attributes: { ...sagaAttributes({ name: command.saga, id: command.sagaId }), ...callAttributes(command) },
    })
    try {
      span.end(await span.run(work))
    } catch (error) {
      span.end(error)
      throw error
    }
  }

  async #decide(tx: SqlTransaction, request: Request, command: CommandHeaders, message: HandlerContext): Promise<void> {
    const { saga, sagaId, step, key, birth, replyTo } = command
    const service = replyTo.endsWith(REPLIES) ? replyTo.slice(0, -REPLIES.length) : replyTo
    const context: ParticipantContext = { tx, key, service, birth, saga, sagaId, step, message }
    const reply =
      command.operation === 'invoke'
        ? await this.#invoke(tx, request, command, context)
        : await this.#compensate(tx, request, command, context)
    await this.#send(tx, command, reply)
  }

  async #invoke(
    tx: SqlTransaction,
    request: Request,
    command: CommandHeaders,
    context: ParticipantContext,
  ): Promise<SagaReply> {
    const entry = await this.#barrier.enter(tx, command, 'invoke', 'ok')
    const known = answered(command, entry)
    if (known !== undefined) return known
    const result = stored(
      `result of ${command.key}`,
      await this.#handlers.invoke(request, context),
      Number.POSITIVE_INFINITY,
    )
    const reply: SagaReply = { ...head(command), status: 'ok', ...(result !== undefined && { result }) }
    await this.#barrier.keep(tx, entry, 'ok', reply, command.round)
    return reply
  }

  async #compensate(
    tx: SqlTransaction,
    request: Request,
    command: CommandHeaders,
    context: ParticipantContext,
  ): Promise<SagaReply> {
    const reply: SagaReply = { ...head(command), status: 'ok' }
    const invoked = await this.#barrier.enter(tx, command, 'invoke', 'cancelled')
    const entry = await this.#barrier.enter(tx, command, 'compensate', 'ok')
    if (!entry.isNew && entry.status === 'ok') return reply
    if (hasEffect(invoked)) await this.#handlers.compensate(request, context)
    if (!invoked.isNew) await this.#barrier.cancelInvoke(tx, invoked)
    await this.#barrier.keep(tx, entry, 'ok', reply, command.round)
    return reply
  }

  /** The first transaction is rolled back; a second one keeps and sends the no. @throws the error: try again here */
  async #answerError(command: CommandHeaders, message: HandlerContext, error: unknown): Promise<void> {
    const refused = isRefusal(error) && command.operation === 'invoke'
    const final = !isRetryable(error)
    if (message.signal.aborted || (!final && message.attempt < this.#maxAttempts)) throw error
    const { operation, key, attempt } = command
    const { code, message: text } = describeError(error)
    const status = refused ? 'refused' : final ? 'final' : 'failed'
    message.log.warn({ sagaKey: key, operation, code, status }, 'saga command not done')
    const reply: SagaReply = {
      ...head(command),
      status: refused ? 'refused' : 'failed',
      code,
      message: text,
      ...(status === 'final' && { final: true }),
      ...(attempt !== undefined && { attempt }),
    }
    await this.#sql.transaction(async (tx) => {
      if (operation === 'compensate') return this.#send(tx, command, reply)
      const entry = await this.#barrier.enter(tx, command, 'invoke', status)
      const known = answered(command, entry)
      if (known !== undefined) return this.#send(tx, command, known)
      await this.#barrier.keep(tx, entry, status, reply, command.round)
      return this.#send(tx, command, reply)
    })
  }

  async #send(tx: SqlTransaction, { replyTo, sagaId }: CommandHeaders, reply: SagaReply): Promise<void> {
    const trace = this.#telemetry?.active()
    const headers = trace === undefined ? undefined : traceHeaders(trace)
    await this.#outbox.add(tx, replyChannel(replyTo), reply, { key: sagaId, headers })
  }
}

/** The binder's span for the message, if it makes one, else the one that the message names. */
function parentIn(telemetry: Telemetry, { headers }: HandlerContext): TraceContext | 'active' {
  const named = readTraceContext(headers)
  return named === undefined || named.traceId === telemetry.active()?.traceId ? 'active' : named
}

/** A message on a command channel without the saga headers: a sender's mistake, nobody waits for an answer. */
class NotACommand extends TypeError {
  readonly retryable = false as const

  constructor({ id, channel }: HandlerContext) {
    super(`message ${id} on "${channel}" is no saga command: its saga-* headers are missing or wrong`)
  }
}

/** What is to be said of an invoke without another look at it; `undefined`: the handler decides. */
function answered(command: CommandHeaders, { isNew, status, reply, round }: BarrierEntry): SagaReply | undefined {
  if (isNew || status === 'failed') return undefined
  if (status === 'cancelled') return cancelled(command)
  // Nothing was done in the earlier round, and a person asks for another answer.
  if (status !== 'ok' && command.round > round) return undefined
  return reply === null ? undefined : { ...reply, ...(command.birth !== undefined && { birth: command.birth }) }
}

function hasEffect({ isNew, status }: BarrierEntry): boolean {
  return !isNew && (status === 'ok' || status === 'failed' || status === 'final')
}

function cancelled(command: CommandHeaders): SagaReply {
  return { ...head(command), status: 'refused', code: 'saga.cancelled', message: 'it was compensated before it came' }
}

function head({ saga, sagaId, step, operation, birth, round }: CommandHeaders): Omit<SagaReply, 'status'> {
  return { saga, sagaId, step, operation, ...(birth !== undefined && { birth }), ...(round > 0 && { round }) }
}
