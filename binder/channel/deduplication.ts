/** What tells a message from all others, for inboxes and for the ids of what follows from it. */
import type { EncodedMessage } from './message.ts'

/** Of the headers that say what happened to a dead letter. */
export const DEAD_LETTER_PREFIX = 'dead-letter-'

/** The channel with the dead letters of a group: `<destination>.<group>.dlq`. */
export function deadLetterName(destination: string, group: string): string {
  return `${destination}.${group}.dlq`
}

/**
 * The source that an id is unique in. A dead letter keeps the id and source of its message, and each failure of that is a
 * letter of its own, so when and where it failed belongs to the source. A redelivered letter says the same again.
 */
export function sourceOf({ source, destination, headers }: EncodedMessage): string {
  const fact = (name: string): string => String(headers[DEAD_LETTER_PREFIX + name]).slice(0, 256)
  if (destination !== deadLetterName(fact('channel'), fact('group'))) return source
  return `${source} failed at ${fact('time')} in ${fact('position')}`
}
