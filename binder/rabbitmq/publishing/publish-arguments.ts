import { MAX_DELAY_MS } from '../../channel/delay.ts'
import type { EncodedMessage } from '../../channel/message.ts'
import type { AmqpPublishProperties } from '../link/amqplib-types.ts'
import type { DelayLadder } from '../topology/delay-ladder.ts'
import { propertiesBytes, toAmqp } from '../wire/envelope.ts'

/** Content of a `basic.publish`. */
export interface PublishArguments {
  readonly exchange: string
  readonly content: Buffer
  readonly options: AmqpPublishProperties
}

export interface PublishLimits {
  /** Maximum body size. */
  readonly maxBytes: number
  /** The largest frame that the broker accepts; a message's properties have to fit into one. */
  readonly frameMax: number
}

/**
 * Arguments with which a message is published: to its exchange, or through the delay ladder if it is not due yet. Pure.
 * @param exchange of its destination
 * @param now epoch ms
 * @throws RangeError if it exceeds a limit, TypeError if AMQP cannot represent it
 */
export function publishArguments(
  message: EncodedMessage,
  exchange: string,
  unroutable: 'refuse' | 'accept',
  { maxBytes, frameMax }: PublishLimits,
  ladder: DelayLadder,
  now: number,
): PublishArguments {
  const size = message.body?.byteLength ?? 0
  if (size > maxBytes) throw new RangeError(`the body has ${size} bytes`)
  const { content, options } = toAmqp(message, unroutable === 'refuse')
  const first = delayed(message, options, ladder, now) ?? exchange
  if (frameMax < MOST_PROPERTY_BYTES && propertiesBytes(options) > frameMax)
    throw new RangeError(`the headers do not fit in a frame of ${frameMax} bytes`)
  return { exchange: first, content, options }
}

/** amqplib writes 64 KiB of headers at most: they fit into frames of this size. */
const MOST_PROPERTY_BYTES = 128 * 1024

/** Adds the route through the ladder. @returns its start, `undefined` for a message that is due */
function delayed(
  { destination, notBefore }: EncodedMessage,
  options: AmqpPublishProperties,
  ladder: DelayLadder,
  now: number,
): string | undefined {
  if (notBefore === undefined || notBefore <= now) return undefined
  // The sender's clock may be ahead of this one, so the rest of an allowed delay can exceed the maximum.
  const { exchange, headers } = ladder.route(destination, Math.min(notBefore - now, MAX_DELAY_MS))
  Object.assign(options.headers, headers)
  options.mandatory = true
  return exchange
}
