/** Declarations of consumers that get a message only when somebody asks for one. */

import { type Channel, requireChannel } from '../channel/channel.ts'
import {
  type ConsumerOptions,
  type Handler,
  type HandlerContext,
  requireOptionsFirst,
  type TransactionContext,
} from './binding.ts'
import type { Named, NameOptions } from './binding-name.ts'
import type { Inbox } from './inbox.ts'
import { consumerOptions } from './of-service.ts'

/** One message at a time, when asked: nothing of it is about speed. */
export interface PollableOptions
  extends Omit<
    ConsumerOptions,
    'group' | 'concurrency' | 'prefetch' | 'prefetchBytes' | 'autoStart' | 'rateLimit' | 'circuitBreaker'
  > {
  /** Durable, for between two polls nobody listens. */
  readonly group: string
  /**
   * How long it stays in the group after a poll, in ms, so that the next one is quick. Meanwhile its share of the
   * channel waits for it and not for other members. 0: leaves after each poll. @default 5 s
   */
  readonly keepMs?: number | undefined
}

export interface PollableInboxOptions extends PollableOptions {
  readonly inbox: Inbox | true
}

/** Made by `pollable`, for `binder.poll`. */
export interface PollBinding<Payload = never, Context = never, Name extends string = string> extends Named<Name> {
  readonly kind: 'poll'
  readonly input: Channel
  readonly output: undefined
  readonly options: PollableOptions & { readonly inbox?: Inbox | undefined }
  /** For the types only: each poll brings its own. */
  readonly handler?: Handler<Payload, Context, void> | undefined
}

export interface PollOptions {
  /**
   * How long to wait for a message once the place in the group is taken, in ms. Kafka needs up to about half a second
   * to answer at all. @default 5 s
   */
  readonly waitMs?: number | undefined
  /** Gives up waiting, with its reason; a handler that has begun goes on. */
  readonly signal?: AbortSignal | undefined
}

/**
 * A consumer of `channel` that pulls: `binder.poll(binding, handler)` hands one message to the handler, with the
 * attempts, the dead letter and the settling of a `sink`. Nothing is taken from the broker before the first poll.
 */
export function pollable<
  In,
  Out,
  At extends string = string,
  Group extends string = string,
  Name extends string = `${At}.${Group}`,
>(
  channel: Channel<In, Out, At>,
  options: PollableInboxOptions & NameOptions<Group, Name>,
): PollBinding<Out, TransactionContext, NoInfer<Name>>
export function pollable<
  In,
  Out,
  At extends string = string,
  Group extends string = string,
  Name extends string = `${At}.${Group}`,
>(
  channel: Channel<In, Out, At>,
  options: PollableOptions & { readonly inbox?: undefined } & NameOptions<Group, Name>,
): PollBinding<Out, HandlerContext, NoInfer<Name>>
export function pollable(
  channel: unknown,
  options: PollableOptions & { readonly inbox?: Inbox | true | undefined },
): PollBinding {
  const input = requireChannel('pollable', channel as Channel)
  requireOptionsFirst(`pollable("${input.name}")`, options, 'pollable(channel, options)')
  return Object.freeze({ kind: 'poll', input, output: undefined, options: consumerOptions(options) })
}
