import { hasCode, isRetryable, said, toError } from '../../core/errors.ts'
import { derivedId, newId } from '../../core/ids.ts'
import { requireFunction } from '../../core/option-checks.ts'
import { fieldOf } from '../../core/thrown-values.ts'
import type { NameOptions } from '../bindings/binding-name-types.ts'
import type {
  ConsumerOptions,
  InboxConsumerOptions,
  OnceConsumerOptions,
  ProcessorBinding,
  Without,
} from '../bindings/declarations.ts'
import { type Handler, type HandlerContext, type TransactionContext } from '../bindings/handler-types.ts'
import { to } from '../bindings/outputs.ts'
import { processor } from '../bindings/sink-processor-source.ts'
import { type Channel, requireChannel } from '../channel/channel.ts'
import type { EncodedMessage } from '../channel/message.ts'
import { AcceptedReplyAddresses } from './accepted-reply-addresses.ts'
import type { Answer, AnswerHost } from './failed-request-answer.ts'
import { MAX_MESSAGE, MAX_REASON, replyHeaders } from './request-reply-format.ts'

/**
 * Answers requests: the handler's result goes to the caller of `binder.request`, confirmed before the request is settled. A
 * request that failed permanently is answered with its error's code and message, and then dead-lettered, or handled according to
 * `onFailure`; one that the handler refuses (`RequestRefused`) is only answered. A message of `send`, which awaits no answer, is
 * not answered.
 */
export function responder<
  In,
  Out,
  ReplyIn,
  Reply,
  At extends string = string,
  Group extends string = 'anonymous',
  Name extends string = `${At}.${Group}`,
>(
  requests: Channel<In, Out, At>,
  replies: Channel<ReplyIn, Reply>,
  options: (OnceConsumerOptions | InboxConsumerOptions) & NameOptions<Group, Name>,
  handler: Handler<Out, TransactionContext, ReplyIn>,
): ProcessorBinding<NoInfer<Name>>
export function responder<
  In,
  Out,
  ReplyIn,
  Reply,
  At extends string = string,
  Group extends string = 'anonymous',
  Name extends string = `${At}.${Group}`,
>(
  requests: Channel<In, Out, At>,
  replies: Channel<ReplyIn, Reply>,
  options: ConsumerOptions & Without<'once' | 'inbox'> & NameOptions<Group, Name>,
  handler: Handler<Out, HandlerContext, ReplyIn>,
): ProcessorBinding<NoInfer<Name>>
export function responder(requests: unknown, replies: unknown, options: unknown, handler: unknown): ProcessorBinding {
  const input = requireChannel('responder', requests as Channel)
  const path = `responder("${input.name}")`
  // A reply is for its requester only, so groups of the reply channel are not created.
  const output = Object.freeze({ ...requireChannel(`${path} replies`, replies as Channel), groups: [] })
  const answer = requireFunction(`${path} handler`, handler as Handler<unknown, HandlerContext, unknown>)
  const places = new AcceptedReplyAddresses(output.name)
  const binding = processor(
    input,
    output,
    options as ConsumerOptions & Without<'once' | 'inbox'>,
    async (payload, context) => {
      const address = places.address(context.headers)
      const reply = await answer(payload, context)
      if (address === undefined) return undefined
      return to(output, reply, { destination: address.to, headers: replyHeaders(address.id, 'ok') })
    },
  )
  return Object.freeze({
    ...binding,
    output: undefined,
    replies: output,
    answer: (request, error, host) => failureAnswer(request, error, output, places, host),
  } satisfies ProcessorBinding)
}

/** Returns the answer to a request that failed permanently; `undefined` when none is awaited. */
function failureAnswer(
  request: EncodedMessage,
  thrown: unknown,
  replies: Channel,
  places: AcceptedReplyAddresses,
  { service, group, now }: AnswerHost,
): Answer | undefined {
  const address = places.addressOrNone(request.headers)
  if (address === undefined) return undefined
  const error = toError(thrown)
  const body = {
    reason: reasonOf(error),
    message: said(error, 'message').slice(0, MAX_MESSAGE),
    retryable: isRetryable(error),
  }
  return {
    message: {
      id: group === null ? newId() : derivedId(request.source, request.id, request.destination, group, 'failed'),
      destination: address.to,
      key: null,
      type: replies.name,
      source: service,
      contentType: 'application/json',
      time: now,
      headers: replyHeaders(address.id, 'failed'),
      body: Buffer.from(JSON.stringify(body)),
    },
    replies,
    settles: hasCode(error, 'binder.request_refused'),
  }
}

function reasonOf(error: Error): string {
  const reason = fieldOf(error, hasCode(error, 'binder.request_refused') ? 'reason' : 'code')
  return typeof reason === 'string' && reason !== '' ? reason.slice(0, MAX_REASON) : 'failed'
}
