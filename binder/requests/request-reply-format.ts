/**
 * Requests and replies on the wire, see docs/reference/wire-format.md.
 *
 *   request: `request-id` <instance>/<uuid>, `request-reply-to` <reply channel>.<service>
 *   reply:   `reply-to-request` the id, `reply-status` ok or failed; a failed one has a JSON body of its own
 */

import type { Clock } from '../../core/clock.ts'
import { ConcordatError, hasCode, isRetryable, said, show, toError } from '../../core/errors.ts'
import { derivedId, newId } from '../../core/ids.ts'
import { parseShallow } from '../../core/shallow-json.ts'
import { fieldOf } from '../../core/thrown.ts'
import type { ConsumerBinding } from '../bindings/declarations.ts'
import type { Channel } from '../channel/channel.ts'
import { type EncodedMessage, type Headers, REPLY_TO_REQUEST } from '../channel/message.ts'
import { decodePayload } from '../channel/message-codec.ts'
import { BinderError, TerminalError } from '../errors.ts'
import type { Destinations } from '../sending/destinations.ts'
import { bounded } from '../transport/cloud-event.ts'
import type { Answer, AnswerHost } from './answer.ts'

export const REQUEST_ID = 'request-id'
export const REPLY_TO = 'request-reply-to'
const REPLY_STATUS = 'reply-status'
/** Limit for a responder's reason, which another program may write: it goes into errors and logs. */
const MAX_REASON = 128
const MAX_MESSAGE = 1_024

/** Characters of a destination for replies; a longer one is refused by responders. */
export const MAX_REPLY_PLACE = 200

/** Thrown by a responder's handler: a definite no for the requester. One attempt, no dead letter, an inbox rolls back. */
export class RequestRefused extends ConcordatError {
  readonly code = 'binder.request_refused' as const
  readonly retryable = false as const
  /** For a program: `no_stock`. */
  readonly reason: string

  constructor(reason: string, message: string) {
    super(message)
    this.reason = reason
  }
}

/** Id of this very request for an inbox; `undefined` when no reply is awaited. */
export function askingOf({ headers }: EncodedMessage): string | undefined {
  const { [REPLY_TO]: to, [REQUEST_ID]: id } = headers
  return typeof to === 'string' && typeof id === 'string' ? bounded(id) : undefined
}

/** Where replies of one channel go for one service. */
export function replyDestination(replies: string, service: string): string {
  return `${replies}.${service}`
}

/**
 * Reply address of a request; `undefined` when no reply is awaited.
 * @throws TerminalError when the address is no destination for these replies: a requester cannot have them sent elsewhere
 */
function replyAddress(headers: Headers, replies: string): { readonly to: string; readonly id: string } | undefined {
  const { [REPLY_TO]: to, [REQUEST_ID]: id } = headers
  if (to === undefined || to === null) return undefined
  const prefix = `${replies}.`
  if (
    typeof to === 'string' &&
    to.length <= MAX_REPLY_PLACE &&
    to.startsWith(prefix) &&
    /^[\w.-]+$/.test(to) &&
    typeof id === 'string'
  )
    return { to, id }
  throw new TerminalError(
    `a request wants its answer at ${show(to)} for ${show(id)}: expected "${prefix}<service>" and a text in ${REQUEST_ID}`,
  )
}

/** Services that one responder answers at most; each has a destination of its own on the broker. */
export const MAX_ASKERS = 100

/** Destinations of a responder's answers, limited in number: requesters must not create any number of destinations. */
export class ReplyPlaces {
  readonly #replies: string
  readonly #known = new Set<string>()

  /** @param replies name of the reply channel */
  constructor(replies: string) {
    this.#replies = replies
  }

  /**
   * Reply address of a request; `undefined` when no reply is awaited.
   * @throws TerminalError as `replyAddress` does, and when there are too many requesters
   */
  address(headers: Headers): ReturnType<typeof replyAddress> {
    const address = replyAddress(headers, this.#replies)
    if (address === undefined || this.#known.has(address.to)) return address
    if (this.#known.size >= MAX_ASKERS) {
      throw new TerminalError(
        `a request wants its answer at ${show(address.to)}: expected one of the ${MAX_ASKERS} services that this responder has answered since its start. Look for a program that makes up names, or run a second responder.`,
      )
    }
    this.#known.add(address.to)
    return address
  }

  /** The same, for requests that failed already. */
  addressOrNone(headers: Headers): ReturnType<typeof replyAddress> {
    try {
      return this.address(headers)
    } catch {
      return undefined
    }
  }
}

export function replyHeaders(id: string, status: 'ok' | 'failed'): Headers {
  return { [REPLY_TO_REQUEST]: id, [REPLY_STATUS]: status }
}

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

/**
 * The payload of a reply.
 * @param channel of the request
 * @throws `binder.request_failed` when the responder said so; SchemaError, CodecError when the reply is none of its channel
 */
export async function readReply<In, Out>(
  channel: string,
  replies: Channel<In, Out>,
  reply: EncodedMessage,
): Promise<Out> {
  if (reply.headers[REPLY_STATUS] !== 'failed') return decodePayload(replies, reply)
  throw new BinderError('binder.request_failed', { channel, responder: reply.source, ...readFailure(reply.body) })
}

function readFailure(body: Uint8Array | null): { reason: string; answer: string; retryable: boolean } {
  let said: Readonly<Record<string, unknown>> = {}
  try {
    said = parseShallow(Buffer.from(body ?? []).toString()) as typeof said
  } catch {
    // Another program's failure, with a body of its own.
  }
  const text = (value: unknown, most: number, otherwise: string): string =>
    typeof value === 'string' ? value.slice(0, most) : otherwise
  return {
    reason: text(said?.['reason'], MAX_REASON, 'failed'),
    answer: text(said?.['message'], MAX_MESSAGE, 'it gave no reason'),
    retryable: said?.['retryable'] === true,
  }
}
