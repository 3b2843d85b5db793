/** A consumer with several handlers, selected by the message. */

import { invalidOption, requireText, show } from '../../core/errors.ts'
import { requireFunction, wrongKind } from '../../core/option-checks.ts'
import { type Channel, requireChannel } from '../channel/channel.ts'
import { BinderError } from '../errors.ts'
import type { NameOptions } from './binding-name-types.ts'
import type {
  ConsumerBinding,
  ConsumerOptions,
  InboxConsumerOptions,
  OnceConsumerOptions,
  Without,
} from './declarations.ts'
import { Discarded } from './discarded-result.ts'
import { type Handler, type HandlerContext, type TransactionContext } from './handler-types.ts'
import { Addressed, Outputs, type Result } from './outputs.ts'
import { sink } from './sink-processor-source.ts'

/** Created by `into`: a route whose result goes to a channel. */
export class RouteInto<Payload> {
  readonly channel: Channel
  readonly handler: Handler<Payload, HandlerContext, unknown>

  constructor(channel: Channel, handler: Handler<Payload, HandlerContext, unknown>) {
    this.channel = channel
    this.handler = handler
    Object.freeze(this)
  }
}

/**
 * A route that produces: the handler's result goes to `channel`, and is confirmed before the input is settled. With `once` the
 * output is part of the transaction; if the handler itself writes in it, use a `processor`.
 * @throws TypeError when `channel` is not a channel
 */
export function into<Payload, In, Out>(
  channel: Channel<In, Out>,
  handler: Handler<Payload, HandlerContext, Result<In>>,
): RouteInto<Payload> {
  return new RouteInto(requireChannel('into', channel) as unknown as Channel, requireFunction('into handler', handler))
}

/** Handler of a route's messages. */
export type Route<Payload, Context> = Handler<Payload, Context, void> | RouteInto<Payload>

interface Routing<Payload, Context> {
  /** Name of the header with the route, or a function that returns the route of a message. */
  readonly by: string | ((payload: Payload, context: Context) => string | undefined | Promise<string | undefined>)
  readonly routes: Readonly<Record<string, Route<Payload, Context>>>
  /**
   * Handler of messages without a matching route. `'discard'` settles them, with a line in the log and a count in
   * `status().discarded`. @default none: the message fails with `binder.no_route` and is dead-lettered
   */
  readonly default?: Route<Payload, Context> | 'discard' | undefined
}

/** Options of `route`: those of a sink, and the selection of the handler. */
export type RouteOptions<Payload> = ConsumerOptions & Without<'once' | 'inbox'> & Routing<Payload, HandlerContext>
/** `RouteOptions` for handlers whose effect is applied once per message. */
export type OnceRouteOptions<Payload> = (OnceConsumerOptions | InboxConsumerOptions) &
  Routing<Payload, TransactionContext>

/**
 * Consumes `channel` with one handler per kind of message. Attempts, order, dead letters and all other options are the same as
 * for a `sink`.
 * @throws TypeError naming the option
 */
export function route<
  In,
  Out,
  At extends string = string,
  Group extends string = 'anonymous',
  Name extends string = `${At}.${Group}`,
>(
  channel: Channel<In, Out, At>,
  options: OnceRouteOptions<Out> & NameOptions<Group, Name>,
): ConsumerBinding<NoInfer<Name>>
export function route<
  In,
  Out,
  At extends string = string,
  Group extends string = 'anonymous',
  Name extends string = `${At}.${Group}`,
>(channel: Channel<In, Out, At>, options: RouteOptions<Out> & NameOptions<Group, Name>): ConsumerBinding<NoInfer<Name>>
export function route<
  In,
  Out,
  At extends string = string,
  Group extends string = 'anonymous',
  Name extends string = `${At}.${Group}`,
>(
  channel: Channel<In, Out, At>,
  options: OnceRouteOptions<Out> & NameOptions<Group, Name>,
): ConsumerBinding<NoInfer<Name>>
export function route(channel: unknown, options: unknown): ConsumerBinding {
  const input = requireChannel('route', channel as Channel)
  const path = `route("${input.name}")`
  if (typeof options !== 'object' || options === null) throw wrongKind(path, options, 'an object of options')
  const { by, routes, default: otherwise, ...consumer } = options as OnceRouteOptions<unknown>
  const table = new Table(input.name, path, { by, routes, default: otherwise })
  const binding = sink(
    input,
    consumer as InboxConsumerOptions,
    (payload, context) => table.handle(payload, context) as Promise<void>,
  )
  if (table.outputs.length === 0) return binding
  return Object.freeze({ ...binding, kind: 'processor', outputs: table.outputs, ready: undefined })
}

class Table {
  readonly outputs: readonly Channel[]
  readonly #channel: string
  readonly #by: Routing<unknown, TransactionContext>['by']
  readonly #routes: ReadonlyMap<string, Route<unknown, TransactionContext>>
  readonly #otherwise: Route<unknown, TransactionContext> | 'discard' | undefined

  constructor(channel: string, path: string, given: Routing<unknown, TransactionContext>) {
    const { by, routes, default: otherwise } = given
    if (typeof by !== 'function') requireText(`${path}.by`, by)
    if (typeof routes !== 'object' || routes === null || Object.keys(routes).length === 0)
      throw wrongKind(`${path}.routes`, routes, 'an object with a handler per name')
    for (const [name, each] of Object.entries(routes)) checkRoute(`${path}.routes.${name}`, each)
    if (typeof otherwise === 'string' && otherwise !== 'discard')
      throw invalidOption(`${path}.default`, otherwise, "a handler or 'discard'")
    if (otherwise !== undefined && otherwise !== 'discard') checkRoute(`${path}.default`, otherwise)
    this.#channel = channel
    this.#by = by
    this.#routes = new Map(Object.entries(routes))
    this.#otherwise = otherwise
    this.outputs = [...this.#routes.values(), otherwise].flatMap((each) =>
      each instanceof RouteInto ? [each.channel] : [],
    )
  }

  async handle(payload: unknown, context: TransactionContext): Promise<unknown> {
    const name: unknown = typeof this.#by === 'function' ? await this.#by(payload, context) : header(context, this.#by)
    const found = (typeof name === 'string' ? this.#routes.get(name) : undefined) ?? this.#otherwise
    if (found === undefined)
      throw new BinderError('binder.no_route', {
        channel: this.#channel,
        route: name,
        routes: [...this.#routes.keys()],
      })
    if (found === 'discard') return new Discarded(`no route ${show(name)}`)
    if (typeof found === 'function') {
      await found(payload, context)
      return undefined
    }
    return addressed(await found.handler(payload, context), found.channel)
  }
}

function checkRoute(path: string, value: unknown): void {
  if (typeof value !== 'function' && !(value instanceof RouteInto))
    throw wrongKind(path, value, 'a handler, or into(channel, handler)')
}

function header({ headers }: HandlerContext, name: string): unknown {
  return Object.hasOwn(headers, name) ? headers[name] : undefined
}

/** Addresses payloads without a channel to the route's channel. */
function addressed(result: unknown, channel: Channel): unknown {
  if (result === undefined || result instanceof Discarded) return result
  if (!(result instanceof Outputs)) return withChannel(result, channel)
  return new Outputs(result.payloads.map((output: unknown) => withChannel(output, channel)))
}

function withChannel(output: unknown, channel: Channel): Addressed<unknown> {
  if (!(output instanceof Addressed)) return new Addressed(channel, output, {})
  return new Addressed(output.channel ?? channel, output.payload, output.options)
}
