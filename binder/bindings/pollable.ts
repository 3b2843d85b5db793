/** Declarations of consumers that receive a message only on request. */

import { type Channel, requireChannel } from '../channel/channel.ts'
import type { NameOptions } from './binding-name-types.ts'
import type {
  PollableInboxOptions,
  PollableOnceOptions,
  PollableOptions,
  PollBinding,
  Without,
} from './declarations.ts'
import type { HandlerContext, TransactionContext } from './handler-types.ts'
import { requireOptionsFirst } from './sink-processor-source.ts'

/** Options of `binder.poll`. */
export interface PollOptions {
  /**
   * How long to wait for a message after joining the group, in ms. Kafka needs up to about half a second to answer at all.
   * @default 5 s
   */
  readonly waitMs?: number | undefined
  /** Ends the wait, with the signal's reason; a handler that has begun continues. */
  readonly signal?: AbortSignal | undefined
}

/**
 * Declares a consumer of `channel` that pulls: `binder.poll(binding, handler)` passes one message to the handler, with the
 * attempts, dead letters and settling of a `sink`. Nothing is taken from the broker before the first poll.
 */
export function pollable<
  In,
  Out,
  At extends string = string,
  Group extends string = string,
  Name extends string = `${At}.${Group}`,
>(
  channel: Channel<In, Out, At>,
  options: (PollableOnceOptions | PollableInboxOptions) & NameOptions<Group, Name>,
): PollBinding<Out, TransactionContext, NoInfer<Name>>
export function pollable<
  In,
  Out,
  At extends string = string,
  Group extends string = string,
  Name extends string = `${At}.${Group}`,
>(
  channel: Channel<In, Out, At>,
  options: PollableOptions & Without<'once' | 'inbox'> & NameOptions<Group, Name>,
): PollBinding<Out, HandlerContext, NoInfer<Name>>
export function pollable(channel: unknown, options: PollBinding['options']): PollBinding {
  const input = requireChannel('pollable', channel as Channel)
  requireOptionsFirst(`pollable("${input.name}")`, options, 'pollable(channel, options)')
  return Object.freeze({ kind: 'poll', input, output: undefined, options: Object.freeze({ ...options }) })
}
