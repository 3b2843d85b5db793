/**
 * Requests and replies on the wire, see docs/reference/wire-format.md.
 *
 *   request: `request-id` <instance>/<uuid>, `request-reply-to` <reply channel>.<service>
 *   reply:   `reply-to-request` the id, `reply-status` ok or failed; a failed one has a JSON body of its own
 */

import { parseShallow } from '../../core/json-depth-limit.ts'
import type { Channel } from '../channel/channel.ts'
import { type EncodedMessage, type Headers, REPLY_TO_REQUEST } from '../channel/message.ts'
import { decodePayload } from '../channel/message-codec.ts'
import { BinderError } from '../errors.ts'
import { bounded } from '../transport/foreign-cloud-events.ts'

export const REQUEST_ID = 'request-id'
export const REPLY_TO = 'request-reply-to'
const REPLY_STATUS = 'reply-status'
/** Limit for a responder's reason, which another program may write, and which enters errors and logs. */
export const MAX_REASON = 128
export const MAX_MESSAGE = 1_024

/** Maximum length of a destination for replies; responders refuse a longer one. */
export const MAX_REPLY_PLACE = 200

/** Returns the id of this request for an inbox; `undefined` when no reply is awaited. */
export function askingOf({ headers }: EncodedMessage): string | undefined {
  const { [REPLY_TO]: to, [REQUEST_ID]: id } = headers
  return typeof to === 'string' && typeof id === 'string' ? bounded(id) : undefined
}

/** Returns the destination of one channel's replies for one service. */
export function replyDestination(replies: string, service: string): string {
  return `${replies}.${service}`
}

export function replyHeaders(id: string, status: 'ok' | 'failed'): Headers {
  return { [REPLY_TO_REQUEST]: id, [REPLY_STATUS]: status }
}

/**
 * Returns the payload of a reply.
 * @param channel of the request
 * @throws `binder.request_failed` with the responder's error; SchemaError, CodecError when the reply does not fit its channel
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
    // A failure from another program, with its own body.
  }
  const text = (value: unknown, most: number, otherwise: string): string =>
    typeof value === 'string' ? value.slice(0, most) : otherwise
  return {
    reason: text(said?.['reason'], MAX_REASON, 'failed'),
    answer: text(said?.['message'], MAX_MESSAGE, 'it gave no reason'),
    retryable: said?.['retryable'] === true,
  }
}
