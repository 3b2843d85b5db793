/**
 * Message properties without a meaning here, but with one for other programs. A handler sees them as headers; dead letters and
 * messages sent back have them as properties again. A sender that sets such a header sets the property.
 */
import type { HeaderValue } from '../../channel/message.ts'
import type { AmqpProperties, AmqpPublishProperties } from '../link/amqplib-types.ts'

const PREFIX = 'amqp-'
const REPLY_TO = `${PREFIX}reply-to`
const CORRELATION_ID = `${PREFIX}correlation-id`
const CONTENT_ENCODING = `${PREFIX}content-encoding`
const PRIORITY = `${PREFIX}priority`
/** Read only: a dead letter that expires would be lost. */
const EXPIRATION = `${PREFIX}expiration`

/** Properties as headers, in pairs. */
export function foreignProperties(properties: AmqpProperties): readonly (readonly [string, HeaderValue])[] {
  const { replyTo, correlationId, contentEncoding, priority, expiration } = properties
  if ((replyTo ?? correlationId ?? contentEncoding ?? priority ?? expiration) === undefined) return NONE
  const found: Array<readonly [string, HeaderValue]> = []
  const add = (name: string, value: unknown): void => {
    if (typeof value === 'string' || typeof value === 'number') found.push([name, value])
  }
  add(REPLY_TO, replyTo)
  add(CORRELATION_ID, correlationId)
  add(CONTENT_ENCODING, contentEncoding)
  add(PRIORITY, priority)
  add(EXPIRATION, expiration)
  return found
}

const NONE: readonly (readonly [string, HeaderValue])[] = Object.freeze([])

/**
 * The header as a property. `undefined` if it is not one, or has an invalid value.
 * @param isDelayed true if it first waits in our queues, where a priority would cause overtaking: it stays a header there
 */
export function asProperty(
  name: string,
  value: HeaderValue,
  isDelayed: boolean,
): Partial<AmqpPublishProperties> | undefined {
  if (!name.startsWith(PREFIX)) return undefined
  if (name === PRIORITY) return isPriority(value) && !isDelayed ? { priority: value } : undefined
  if (typeof value !== 'string' || Buffer.byteLength(value) > 255) return undefined
  switch (name) {
    case REPLY_TO:
      return value === DIRECT_REPLY_TO ? undefined : { replyTo: value }
    case CORRELATION_ID:
      return { correlationId: value }
    case CONTENT_ENCODING:
      return { contentEncoding: value }
    default:
      return undefined
  }
}

/** RabbitMQ closes the channel that sends it and consumes no replies. */
const DIRECT_REPLY_TO = 'amq.rabbitmq.reply-to'

function isPriority(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 255
}
