import { invalidOption } from '../core/errors.ts'
import type { ContextLogger } from '../core/logger.ts'
import { hasMethods, optionNames, refuseUnknown, wrongKind } from '../core/option-checks.ts'
import { A_SCHEMA, type StandardSchemaV1 } from '../core/schema.ts'
import type { Address } from './address.ts'

/**
 * A kind of event: a name and a payload schema. Frozen data that both sides import. As for a channel, `Input` is the type that a
 * publisher passes and that is sent, `Output` the type that a handler receives.
 */
export interface BusEvent<Input = unknown, Output = Input> {
  readonly name: string
  readonly schema: StandardSchemaV1<Input, Output>
}

/** Options of `defineEvent`. */
export interface EventOptions<S extends StandardSchemaV1> {
  /** Any Standard Schema (zod, valibot, arktype, ...). The payload is sent as JSON. */
  readonly payload: S
}

const NAMES = optionNames<EventOptions<StandardSchemaV1>>({ payload: true })

/** Prefix of the names of built-in events. */
export const BUILT_IN_PREFIX = 'concordat.'

/**
 * Declares an event.
 * @param name 1 to 200 characters of `A-Z a-z 0-9 . _ -`, not beginning with `concordat.`
 * @throws TypeError naming the option
 */
export function defineEvent<S extends StandardSchemaV1>(
  name: string,
  options: EventOptions<S>,
): BusEvent<StandardSchemaV1.InferInput<S>, StandardSchemaV1.InferOutput<S>> {
  if (typeof name !== 'string' || !/^[A-Za-z0-9._-]{1,200}$/.test(name) || name.startsWith(BUILT_IN_PREFIX)) {
    throw invalidOption(
      'defineEvent',
      name,
      'a name of 1 to 200 characters out of A-Z a-z 0-9 . _ -, not "concordat..."',
    )
  }
  const path = `defineEvent("${name}")`
  refuseUnknown(path, options, NAMES)
  if (!hasMethods(options.payload?.['~standard'], ['validate'])) {
    throw invalidOption(`${path}.payload`, options.payload, A_SCHEMA)
  }
  const schema = options.payload as unknown as BusEvent['schema']
  return Object.freeze({ name, schema }) as BusEvent<StandardSchemaV1.InferInput<S>, StandardSchemaV1.InferOutput<S>>
}

/** Checks that a value is an event, from any copy of the package. @throws TypeError naming the path */
export function requireEvent<In, Out>(path: string, event: BusEvent<In, Out>): BusEvent<In, Out> {
  if (typeof event?.name === 'string' && hasMethods(event.schema?.['~standard'], ['validate'])) return event
  throw wrongKind(path, event, 'what defineEvent returned')
}

/** Context of a handler, in addition to the payload. */
export interface EventContext {
  readonly id: string
  readonly event: string
  readonly from: Address
  /** Pattern of the recipients. */
  readonly to: string
  /** Time of publishing, epoch ms by the sender's clock. */
  readonly time: number
  /** Aborts when `handlerTimeoutMs` has passed or the bus has closed: the answer does not wait any longer. */
  readonly signal: AbortSignal
  /** Logs with the event's id, name and sender. */
  readonly log: ContextLogger
}

/** Handles an event. It is acknowledged when the promise resolves; the publisher receives the error if it rejects. */
export type EventHandler<Payload> = (payload: Payload, context: EventContext) => void | Promise<void>

/** An event with its handler, for the option `on`. Created by `onEvent`. */
export interface EventSubscription {
  readonly event: BusEvent
  readonly handler: EventHandler<unknown>
}

/** @throws TypeError */
export function onEvent<In, Out>(event: BusEvent<In, Out>, handler: EventHandler<Out>): EventSubscription {
  requireEvent('onEvent', event)
  if (typeof handler !== 'function') throw wrongKind(`onEvent("${event.name}") handler`, handler, 'a function')
  return Object.freeze({ event: event as unknown as BusEvent, handler: handler as EventHandler<unknown> })
}
