/** Declarations of what a service does with its channels. Frozen data: nothing runs until they are passed to `createBinder`. */

import { wrongKind } from '../../core/option-checks.ts'
import { type Channel, requireChannel } from '../channel/channel.ts'
import type { NameOption, NameOptions } from './binding-name-types.ts'
import type {
  ConsumerOptions,
  DeclaredConsumer,
  InboxConsumerOptions,
  OnceConsumerOptions,
  ProcessorBinding,
  SettlingConsumerOptions,
  SinkBinding,
  SourceBinding,
  SourceOptions,
  Without,
} from './declarations.ts'
import type { Handler, HandlerContext, SourceContext, TransactionContext } from './handler-types.ts'
import type { Result } from './outputs.ts'

type WithoutTransaction = ConsumerOptions & Without<'once' | 'inbox' | 'settlesIn'>
type InTransaction = OnceConsumerOptions | InboxConsumerOptions | SettlingConsumerOptions

/** Consumes `channel`. The message is settled after the handler has resolved. */
export function sink<
  In,
  Out,
  At extends string = string,
  Group extends string = 'anonymous',
  Name extends string = `${At}.${Group}`,
>(
  channel: Channel<In, Out, At>,
  options: InTransaction & NameOptions<Group, Name>,
  handler: Handler<Out, TransactionContext, void>,
): SinkBinding<NoInfer<Name>>
export function sink<
  In,
  Out,
  At extends string = string,
  Group extends string = 'anonymous',
  Name extends string = `${At}.${Group}`,
>(
  channel: Channel<In, Out, At>,
  options: WithoutTransaction & NameOptions<Group, Name>,
  handler: Handler<Out, HandlerContext, void>,
): SinkBinding<NoInfer<Name>>
export function sink(channel: unknown, options: DeclaredConsumer, handler: unknown): SinkBinding {
  const input = requireChannel('sink', channel as Channel)
  requireOptionsFirst(`sink("${input.name}")`, options, 'sink(channel, options, handler)')
  return Object.freeze({
    kind: 'sink',
    input,
    output: undefined,
    options: Object.freeze({ ...options }),
    handler: handler as SinkBinding['handler'],
  })
}

/**
 * Consumes `input` and sends the handler's result to `output`. The input is settled after every output was confirmed; with
 * `once`, outputs are stored in the handler's transaction.
 */
export function processor<
  In,
  Out,
  OutIn,
  OutOut,
  At extends string = string,
  Group extends string = 'anonymous',
  Name extends string = `${At}.${Group}`,
>(
  input: Channel<In, Out, At>,
  output: Channel<OutIn, OutOut>,
  options: InTransaction & NameOptions<Group, Name>,
  handler: Handler<Out, TransactionContext, Result<OutIn>>,
): ProcessorBinding<NoInfer<Name>>
export function processor<
  In,
  Out,
  OutIn,
  OutOut,
  At extends string = string,
  Group extends string = 'anonymous',
  Name extends string = `${At}.${Group}`,
>(
  input: Channel<In, Out, At>,
  output: Channel<OutIn, OutOut>,
  options: WithoutTransaction & NameOptions<Group, Name>,
  handler: Handler<Out, HandlerContext, Result<OutIn>>,
): ProcessorBinding<NoInfer<Name>>
export function processor(
  input: unknown,
  output: unknown,
  options: DeclaredConsumer,
  handler: unknown,
): ProcessorBinding {
  const from = requireChannel('processor', input as Channel)
  const path = `processor("${from.name}")`
  if (typeof options === 'function' && handler === undefined) {
    throw new TypeError(`${path}: the output channel is missing: processor(input, output, options, handler)`)
  }
  requireOptionsFirst(path, options, 'processor(input, output, options, handler)')
  return Object.freeze({
    kind: 'processor',
    input: from,
    output: requireChannel(`${path} output`, output as Channel),
    options: Object.freeze({ ...options }),
    handler: handler as ProcessorBinding['handler'],
  })
}

/**
 * Calls `poll` repeatedly while the binder runs, and sends its results, each until the broker has confirmed it. One call at a
 * time. If the broker can never take a result (too large, unroutable), the binding halts and keeps it: `start()` sends it again.
 * Nothing is remembered across a restart of the process: poll from a source that keeps its position, or use an outbox.
 */
export function source<In, Out, At extends string = string, Name extends string = `${At}.source`>(
  channel: Channel<In, Out, At>,
  options: SourceOptions & NameOption<Name>,
  poll: (context: SourceContext) => Result<In> | Promise<Result<In>>,
): SourceBinding<NoInfer<Name>> {
  const output = requireChannel('source', channel as unknown as Channel)
  requireOptionsFirst(`source("${output.name}")`, options, 'source(channel, options, poll)')
  return Object.freeze({
    kind: 'source',
    output,
    options: Object.freeze({ ...options }),
    poll,
  })
}

/** `createBinder` checks the names and values of the options. */
export function requireOptionsFirst(path: string, options: unknown, call: string): void {
  if (typeof options === 'object' && options !== null) return
  throw wrongKind(path, options, `an object of options before the function: ${call}`)
}
