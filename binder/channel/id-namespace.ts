/** Names messages for inboxes, and for the ids of the outputs of a handler. */
import { derivedId } from '../../core/ids.ts'
import { deadLetterName } from './dead-letter-name.ts'
import type { EncodedMessage } from './message.ts'

/** Begins the names of the headers in which a dead letter describes its failure. */
export const DEAD_LETTER_PREFIX = 'dead-letter-'

/** Whether the message lies where its headers say that it failed. */
export function isDeadLetter({ destination, headers }: Pick<EncodedMessage, 'destination' | 'headers'>): boolean {
  const fact = (name: string): string => String(headers[DEAD_LETTER_PREFIX + name])
  return destination === deadLetterName(fact('channel'), fact('group'))
}

/**
 * Whether the dead letter is of another group than this one: the names of another channel and its group, put together, can name the same
 * channel of dead letters (`orders` and `placed.stock`, `orders.placed` and `stock`).
 */
export function isLetterOfOther(
  message: EncodedMessage,
  of: { readonly channel: string; readonly group: string },
): boolean {
  const { [`${DEAD_LETTER_PREFIX}channel`]: channel, [`${DEAD_LETTER_PREFIX}group`]: group } = message.headers
  return isDeadLetter(message) && (channel !== of.channel || group !== of.group)
}

/**
 * Returns the source within which an id is unique. A dead letter keeps the id and source of its message, and each failure is a
 * letter of its own, so its time and position belong to the source. A redelivered letter has the same.
 */
export function sourceOf(message: EncodedMessage): string {
  const { source, headers } = message
  if (!isDeadLetter(message)) return source
  const fact = (name: string): string => String(headers[DEAD_LETTER_PREFIX + name])
  return `${source} failed ${derivedId(fact('time'), fact('position'))}`
}
