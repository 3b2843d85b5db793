import { invalidOption } from '../core/errors.ts'
import type { ContextLogger } from '../core/logger.ts'
import { hasMethods, optionNames, refuseUnknown, wrongKind } from '../core/option-checks.ts'
import type { StandardSchemaV1 } from '../core/schema.ts'
import type { Address } from './address.ts'

/**
 * A kind of event: a name and a payload schema. Frozen data that both sides import. As with a channel, `Input` is what a
 * publisher gives and what travels, `Output` what a handler gets.
 */
export interface BusEvent<Input = unknown, Output = Input> {
  readonly name: string
  readonly schema: StandardSchemaV1<Input, Output>
}

/** Options of `defineEvent`. */
export interface EventOptions<S extends StandardSchemaV1> {
  /** Any Standard Schema (zod, valibot, arktype, ...). The payload travels as JSON. */
  readonly payload: S
}

const NAMES = optionNames<EventOptions<StandardSchemaV1>>({ payload: true })

/** Names of events that are built in begin with it. */
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
    throw invalidOption(`${path}.payload`, options.payload, 'a Standard Schema such as z.object({...})')
  }
  const schema = options.payload as unknown as BusEvent['schema']
  return Object.freeze({ name, schema }) as BusEvent<StandardSchemaV1.InferInput<S>, StandardSchemaV1.InferOutput<S>>
}

/** Checks that it is an event, whichever copy of the package made it. @throws TypeError naming the path */
export function requireEvent<In, Out>(path: string, event: BusEvent<In, Out>): BusEvent<In, Out> {
  if (typeof event?.name === 'string' && hasMethods(event.schema?.['~standard'], ['validate'])) return event
  throw wrongKind(path, event, 'what defineEvent returned')
}

/** Context of a handler, beside the payload. */
export interface EventContext {
  readonly id: string
  readonly event: string
  readonly from: Address
  /** The pattern it was sent to. */
  readonly to: string
  /** When it was published, epoch ms by the sender's clock. */
  readonly time: number
  /** Aborts when `handlerTimeoutMs` is over or the bus has closed: the answer does not wait any longer. */
  readonly signal: AbortSignal
  /** Logs with the event's id, name and sender. */
  readonly log: ContextLogger
}

/** Resolves when it has done it, which is then acknowledged; what it throws is told to the publisher. */
export type EventHandler<Payload> = (payload: Payload, context: EventContext) => void | Promise<void>

/** An event with its handler, for the option `on`. Made by `onEvent`. */
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
