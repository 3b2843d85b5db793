import type { Clock } from '../../core/clock.ts'
import { hasCode, isRetryable, said, toError } from '../../core/errors.ts'
import { derivedId, newId } from '../../core/ids.ts'
import { fieldOf } from '../../core/thrown-values.ts'
import type { ConsumerBinding } from '../bindings/declarations.ts'
import type { Channel } from '../channel/channel.ts'
import type { EncodedMessage } from '../channel/message.ts'
import type { Destinations } from '../sending/destinations.ts'
import type { Answer, AnswerHost } from './answer.ts'
import type { ReplyPlaces } from './reply-places.ts'
import { MAX_MESSAGE, MAX_REASON, replyHeaders } from './request-reply-format.ts'

/** How a binding answers for a request that failed; the destination of the answer is made to exist. */
export function answering(
  binding: ConsumerBinding,
  group: string | null,
  host: { readonly service: string; readonly clock: Clock; readonly destinations: Pick<Destinations, 'learn'> },
): ((request: EncodedMessage, error: unknown) => Answer | undefined) | undefined {
  if (binding.kind !== 'processor' || binding.answer === undefined) return undefined
  const { answer } = binding
  const { service, clock, destinations } = host
  return (request, error) => {
    const made = answer(request, error, { service, group, now: clock.now() })
    if (made !== undefined) destinations.learn(made.replies, made.message.destination)
    return made
  }
}

/** The answer to a request that failed permanently; `undefined` when none is awaited. */
export function failureAnswer(
  request: EncodedMessage,
  thrown: unknown,
  replies: Channel,
  places: ReplyPlaces,
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
