/**
 * Decorators for methods of providers. Used as plain functions here, because Node cannot strip decorator syntax. They are legacy
 * decorators, like all of Nest's (`experimentalDecorators`).
 */
import {
  type Binding,
  type Channel,
  type ConsumerOptions,
  type Handler,
  type HandlerContext,
  type InboxConsumerOptions,
  type OnceConsumerOptions,
  processor,
  type Result,
  type SourceContext,
  sink,
  source,
  type TransactionContext,
} from 'concordat/binder'
import type { SqlTransaction } from 'concordat/core'
import { wrongKind } from 'concordat/extension'
import { type ParticipantContext, type ParticipantHandlers, type ParticipantOptions, participant } from 'concordat/saga'
import { type TccHandlers, type TccParticipantContext, tccParticipant } from 'concordat/saga/tcc'
import { type UndoParticipantOptions, undoParticipant } from 'concordat/saga/undo'
import { type XaContext, type XaParticipantOptions, type XaResource, xaParticipant } from 'concordat/saga/xa'
import { requireChannel } from './check-channel-value.ts'
import { type AnyMethod, declareMethod, type MethodDeclaration, type Part, type Role } from './decorator-metadata.ts'

/** A legacy decorator for a method of the type `Method`: a method with another payload does not compile. */
export type HandlerDecorator<Method> = <Given extends Method>(
  prototype: object,
  method: string | symbol,
  descriptor: TypedPropertyDescriptor<Given>,
) => void

type InTransaction = OnceConsumerOptions | InboxConsumerOptions
type WithoutTransaction = ConsumerOptions & { readonly once?: undefined; readonly inbox?: undefined }

/**
 * The method handles the messages of `channel`, like the handler of `sink`. With `once: true` its context has `tx`.
 * @throws TypeError if the argument is not a channel, or the target is not a method
 */
export function Sink<In, Out>(
  channel: Channel<In, Out>,
  options: InTransaction,
): HandlerDecorator<Handler<Out, TransactionContext, void>>
export function Sink<In, Out>(
  channel: Channel<In, Out>,
  options: WithoutTransaction,
): HandlerDecorator<Handler<Out, HandlerContext, void>>
export function Sink(channel: unknown, options: unknown): HandlerDecorator<never> {
  return binding('Sink', channel, (handle) => sink(channel as never, options as never, handle as never))
}

/**
 * The method handles the messages of `input`, and its result is sent to `output`, like the handler of `processor`.
 * @throws TypeError if an argument is not a channel, or the target is not a method
 */
export function Processor<In, Out, OutIn, OutOut>(
  input: Channel<In, Out>,
  output: Channel<OutIn, OutOut>,
  options: InTransaction,
): HandlerDecorator<Handler<Out, TransactionContext, Result<OutIn>>>
export function Processor<In, Out, OutIn, OutOut>(
  input: Channel<In, Out>,
  output: Channel<OutIn, OutOut>,
  options: WithoutTransaction,
): HandlerDecorator<Handler<Out, HandlerContext, Result<OutIn>>>
export function Processor(input: unknown, output: unknown, options: unknown): HandlerDecorator<never> {
  return binding('Processor', input, (handle) =>
    processor(input as never, output as never, options as never, handle as never),
  )
}

/**
 * The method is called repeatedly, and its results are sent to `channel`, as by `source`. To send when something happens, inject
 * a sender: `InjectSender`.
 * @throws TypeError if the argument is not a channel, or the target is not a method
 */
export function Source<In, Out>(
  channel: Channel<In, Out>,
  options: Parameters<typeof source>[1],
): HandlerDecorator<(context: SourceContext) => Result<In> | Promise<Result<In>>> {
  return binding('Source', channel, (poll) => source(channel, options, poll as never))
}

/**
 * The method executes the commands of `channel`: the `invoke` of a `participant`. The same class needs a method with
 * `@Compensate(channel)`, which undoes it.
 * @throws TypeError if the argument is not a channel, or the target is not a method
 */
export function Invoke<In, Out>(
  channel: Channel<In, Out>,
  options: ParticipantOptions,
): HandlerDecorator<(request: Out, context: ParticipantContext) => unknown> {
  return part('Invoke', channel, ({ Invoke: invoke, Compensate: compensate }) =>
    participant(channel, options, { invoke, compensate } as unknown as ParticipantHandlers<Out>),
  )
}

/**
 * The method undoes the effect of the `@Invoke(channel)` of its class: the `compensate` of a `participant`.
 * @throws TypeError if the argument is not a channel, or the target is not a method
 */
export function Compensate<In, Out>(
  channel: Channel<In, Out>,
): HandlerDecorator<(request: Out, context: ParticipantContext) => void | Promise<void>> {
  return part('Compensate', channel)
}

/**
 * The method makes the reservations that the commands of `channel` request: the `try` of a `tccParticipant`. The same class needs
 * methods with `@Confirm(channel)` and `@Cancel(channel)`.
 * @throws TypeError if the argument is not a channel, or the target is not a method
 */
export function Try<In, Out>(
  channel: Channel<In, Out>,
  options: ParticipantOptions,
): HandlerDecorator<(request: Out, context: ParticipantContext) => unknown> {
  return part('Try', channel, ({ Try: attempt, Confirm: confirm, Cancel: cancel }) =>
    tccParticipant(channel, options, { try: attempt, confirm, cancel } as unknown as TccHandlers<Out>),
  )
}

/**
 * The method makes the reservation of the `@Try(channel)` of its class final: the `confirm` of a `tccParticipant`.
 * @throws TypeError if the argument is not a channel, or the target is not a method
 */
export function Confirm<In, Out>(
  channel: Channel<In, Out>,
): HandlerDecorator<(request: Out, context: TccParticipantContext<never>) => void | Promise<void>> {
  return part('Confirm', channel)
}

/**
 * The method releases the reservation of the `@Try(channel)` of its class: the `cancel` of a `tccParticipant`.
 * @throws TypeError if the argument is not a channel, or the target is not a method
 */
export function Cancel<In, Out>(
  channel: Channel<In, Out>,
): HandlerDecorator<(request: Out, context: TccParticipantContext<never>) => void | Promise<void>> {
  return part('Cancel', channel)
}

/**
 * The method executes the commands of `channel`, entirely through `tx`, and the database keeps the changes prepared until the
 * saga is decided: the handler of an `xaParticipant`.
 * @throws TypeError if the argument is not a channel, or the target is not a method
 */
export function XaParticipant<In, Out>(
  channel: Channel<In, Out>,
  options: XaParticipantOptions & { readonly resource?: undefined },
): HandlerDecorator<(request: Out, context: XaContext<SqlTransaction>) => unknown>
export function XaParticipant<In, Out, Tx>(
  channel: Channel<In, Out>,
  options: XaParticipantOptions & { readonly resource: XaResource<Tx> },
): HandlerDecorator<(request: Out, context: XaContext<Tx>) => unknown>
export function XaParticipant(channel: unknown, options: unknown): HandlerDecorator<never> {
  return binding('XaParticipant', channel, (handle) =>
    xaParticipant(channel as never, options as never, handle as never),
  )
}

/**
 * The method executes the commands of `channel`, entirely through `tx`, and its changes are undone if the saga is undone: the
 * handler of an `undoParticipant`.
 * @throws TypeError if the argument is not a channel, or the target is not a method
 */
export function UndoParticipant<In, Out>(
  channel: Channel<In, Out>,
  options: UndoParticipantOptions,
): HandlerDecorator<(request: Out, context: ParticipantContext) => unknown> {
  return binding('UndoParticipant', channel, (handle) => undoParticipant(channel, options, handle as never))
}

const nothing = (): void => {}

/** The text of the decorator. @throws TypeError if it is not a channel, in most cases because of a circular import */
function named(decorator: string, channel: unknown): string {
  return `@${decorator}("${requireChannel(`@${decorator}`, channel).name}")`
}

function part(role: Role, given: unknown, bind?: Part['bind']): HandlerDecorator<never> {
  const what = named(role, given)
  const channel = given as Channel
  bind?.({ Invoke: nothing, Compensate: nothing, Try: nothing, Confirm: nothing, Cancel: nothing })
  return declaring(what, (method) => ({ kind: 'part', role, what, method, channel, bind }))
}

function binding(decorator: string, channel: unknown, bind: (handle: AnyMethod) => Binding): HandlerDecorator<never> {
  const what = named(decorator, channel)
  // Reports an invalid declaration at its own line.
  bind(nothing)
  return declaring(what, (method) => ({ kind: 'binding', what, method, bind }))
}

function declaring(what: string, declared: (method: string | symbol) => MethodDeclaration): HandlerDecorator<never> {
  return (prototype: unknown, method: unknown) => {
    if (typeof method !== 'string' && typeof method !== 'symbol') {
      throw wrongKind(
        what,
        method,
        'a legacy decorator: "experimentalDecorators": true in tsconfig.json, as Nest needs it',
      )
    }
    const isMethod = typeof prototype === 'object' && prototype !== null
    if (!isMethod || typeof (prototype as Readonly<Record<PropertyKey, unknown>>)[method] !== 'function')
      throw wrongKind(what, prototype, `a method of a class that is no static one: "${String(method)}" is none`)
    declareMethod(prototype, declared(method))
  }
}
