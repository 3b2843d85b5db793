/** A participant as a binding: delivers commands to any kind of participant. */

import type { ConsumerOptions, ServiceParts, SinkBinding } from '../../binder/bindings/declarations.ts'
import type { HandlerContext } from '../../binder/bindings/handler-types.ts'
import { sink } from '../../binder/bindings/sink-processor-source.ts'
import { type Channel, checkName } from '../../binder/channel/channel.ts'
import { systemClock } from '../../core/clock.ts'
import { invalidOption, requireInteger } from '../../core/errors.ts'
import { handlersClient, handlersIdleMs } from '../../core/idle-limited-transaction.ts'
import { hasMethods, requireBoolean, wrongKind } from '../../core/option-checks.ts'
import { DEFAULT_SCHEMA, requireSqlClient, type SqlClient } from '../../core/sql.ts'
import { checkTelemetry } from '../../core/telemetry-interface.ts'
import type { XaResource } from '../xa/resource.ts'
import { Barrier } from './barrier.ts'
import { CommandHandler, keptParts } from './command-handler.ts'
import type { ParticipantContext } from './context.ts'
import type { Duties } from './operation-handlers.ts'
import type { ParticipantOptions } from './options.ts'
import { SharedCommandTransactions } from './shared-command-transaction.ts'

/** Behaviour of a kind of participant. */
export interface Side<Request> {
  /** Name in error messages: `participant("payments.commands")`. */
  readonly path: string
  /** Kind of commands that it accepts, from their header `saga-kind`. */
  readonly kind: string | undefined
  duties(barrier: Barrier, database: ParticipantDatabase): Duties<Request, ParticipantContext>
  /** Checks the database before the first message. @throws when it is unfit */
  ready?(sql: SqlClient): Promise<void>
  /** Returns where it leaves prepared transactions; absent: nowhere. */
  prepares?(sql: SqlClient): SqlClient | XaResource
}

/** Declaration of a participant, for callers that deliver commands without a binder. */
export interface DeclaredParticipant {
  readonly channel: Channel
  readonly options: ParticipantOptions
  readonly side: Side<unknown>
}

/** Key that copies of the binding keep. */
const DECLARED = Symbol('declared participant')

/** Returns `undefined` if the binding is not a participant. */
export function declaredParticipant(binding: unknown): DeclaredParticipant | undefined {
  return (binding as { readonly [DECLARED]?: DeclaredParticipant } | undefined)?.[DECLARED]
}

export interface ParticipantDatabase {
  /** Client whose server ends transactions that their process abandons. */
  readonly sql: SqlClient
  /** The original client: participants with the same client share its connections. */
  readonly given: SqlClient
  /** Same limit for XA transactions in other databases. */
  readonly idleMs: number
  readonly schema: string
  /** Maximum number of concurrent commands. */
  readonly concurrency: number
}

/** Attempts for a command without a reply, made in place by the binder. */
const DEFAULT_ATTEMPTS = 3

/** @throws TypeError / RangeError naming the option */
export function participantBinding<In, Out>(
  channel: Channel<In, Out>,
  options: ParticipantOptions,
  side: Side<Out>,
): SinkBinding {
  const { path, kind } = side
  const {
    sql,
    outbox,
    schema = DEFAULT_SCHEMA,
    telemetry: given,
    sharesTransactions: shares = false,
    effects: _,
    ...consumer
  } = options
  const telemetry = checkTelemetry(`${path}.telemetry`, given)
  checkName(`${path}.group`, options.group, 100)
  requireDatabase(path, options)
  const sharesTransactions = resolveSharing(path, shares, options.concurrency)
  const maxAttempts = requireInteger(`${path}.maxAttempts`, options.maxAttempts ?? DEFAULT_ATTEMPTS, 1)
  const declared = { [DECLARED]: { channel: channel as Channel, options, side: side as Side<unknown> } }
  const atMost = { ...consumer, maxAttempts }
  if (sql === undefined || outbox === undefined)
    return Object.freeze({ ...incompleteBinding(channel, options, atMost, side), ...declared })
  const barrier = new Barrier(schema)
  const database = limitedDatabase(sql, options.slowAfterMs, { schema, concurrency: options.concurrency ?? 1 })
  const { sql: limited } = database
  const duties = side.duties(barrier, database)
  const handler = new CommandHandler({
    sql: limited,
    outbox,
    messages: outbox,
    duties,
    kind,
    madeBy: path.slice(0, path.indexOf('(')),
    // A failure is answered at once: the coordinator makes the pauses, and later commands do not wait for them.
    maxAttempts: options.maxAttempts ?? 1,
    clock: systemClock,
    telemetry,
    ...keptParts(systemClock),
    shared: sharesTransactions ? new SharedCommandTransactions(limited, systemClock, barrier) : undefined,
  })
  const handle = (request: Out, context: HandlerContext) => handler.handle(request, context)
  const binding: SinkBinding = sink<In, Out>(channel, atMost, handle)
  return Object.freeze({
    ...binding,
    ...declared,
    prepares: side.prepares?.(sql),
    unreadable: (error: Error, context: HandlerContext) => handler.unreadable(error, context),
    ready: async () => {
      await barrier.ready(sql)
      await side.ready?.(sql)
      await outbox.ready?.()
    },
  })
}

export function limitedDatabase(
  given: SqlClient,
  slowAfterMs: number | undefined,
  others: Pick<ParticipantDatabase, 'schema' | 'concurrency'>,
): ParticipantDatabase {
  return { ...others, given, sql: handlersClient(given, slowAfterMs), idleMs: handlersIdleMs(slowAfterMs) }
}

/** Creates a binding to which a service adds database and outbox. */
function incompleteBinding<In, Out>(
  channel: Channel<In, Out>,
  options: ParticipantOptions,
  consumer: ConsumerOptions,
  side: Side<Out>,
): SinkBinding {
  const binding: SinkBinding = sink<In, Out>(channel, consumer, () =>
    Promise.reject(new Error(`${side.path} was not completed by a service`)),
  )
  const complete = (parts: ServiceParts): SinkBinding =>
    participantBinding(channel, { telemetry: parts.telemetry, ...options, ...pick(parts, options) }, side)
  return { ...binding, complete }
}

/** Returns the participant's database, given with both options, or the service's, with neither. */
function requireDatabase(path: string, { sql, outbox }: ParticipantOptions): void {
  if (sql === undefined && outbox === undefined) return
  requireSqlClient(`${path}.sql`, sql)
  if (!hasMethods(outbox, ['add'])) throw wrongKind(`${path}.outbox`, outbox, 'what createOutbox returns')
}

/** Resolves sharing. With a concurrency of one, no commands are ready together. */
function resolveSharing(path: string, shares: unknown, concurrency: number | undefined): boolean {
  return requireBoolean(`${path}.sharesTransactions`, shares) && (concurrency ?? 1) > 1
}

/** @throws TypeError naming the missing function */
export function requireHandlers(path: string, handlers: object, names: readonly string[]): void {
  for (const name of names) {
    const handler = (handlers as Readonly<Record<string, unknown>> | undefined)?.[name]
    if (typeof handler !== 'function') throw invalidOption(`${path}.${name}`, handler, 'a function')
  }
}

/** Selects the parts that a participant takes from its service; its own schema takes precedence. */
function pick({ sql, outbox, schema }: ServiceParts, own: ParticipantOptions) {
  return { sql, outbox, schema: own.schema ?? schema }
}
