/** Identifies messages for inboxes, and for the ids of a handler's outputs. */
import { derivedId } from '../../core/ids.ts'
import { deadLetterName, isDeadLetterName } from './dead-letter-name.ts'
import { type EncodedMessage, REDRIVE_END } from './message.ts'

/** Prefix of the headers in which a dead letter describes its failure. */
export const DEAD_LETTER_PREFIX = 'dead-letter-'

/** Tells whether the message is in the place where, according to its headers, it failed. */
export function isDeadLetter({ destination, headers }: Pick<EncodedMessage, 'destination' | 'headers'>): boolean {
  const fact = (name: string): string => String(headers[DEAD_LETTER_PREFIX + name])
  return destination === deadLetterName(fact('channel'), fact('group'))
}

/** Tells whether the message is a mark of a redrive. Another program's message, or its dead letter, may have the same type. */
export function isRedriveMark(message: Pick<EncodedMessage, 'type' | 'destination' | 'headers'>): boolean {
  return message.type === REDRIVE_END && isDeadLetterName(message.destination) && !isDeadLetter(message)
}

/**
 * Tells whether the dead letter belongs to another group than this one: different channels and groups can share the name of a
 * dead letter channel (`orders` and `placed.stock`, `orders.placed` and `stock`).
 */
export function isLetterOfOther(
  message: EncodedMessage,
  of: { readonly channel: string; readonly group: string },
): boolean {
  const { [`${DEAD_LETTER_PREFIX}channel`]: channel, [`${DEAD_LETTER_PREFIX}group`]: group } = message.headers
  return isDeadLetter(message) && (channel !== of.channel || group !== of.group)
}

/**
 * Returns the source within which an id is unique. A dead letter keeps the id and source of its message, but each failure is a
 * separate letter, so its time and position are part of the source. A redelivered letter has the same.
 */
export function sourceOf(message: EncodedMessage): string {
  const { source, headers } = message
  if (!isDeadLetter(message)) return source
  const fact = (name: string): string => String(headers[DEAD_LETTER_PREFIX + name])
  return `${source} failed ${derivedId(fact('time'), fact('position'))}`
}
