/** Names of dead letter channels. */

/** Returns the dead letter channel of a group: `<destination>.<group>.dlq`. */
export function deadLetterName(destination: string, group: string): string {
  return `${destination}.${group}.dlq`
}

/** Tells by its name whether a channel contains the dead letters of a group. */
export function isDeadLetterName(name: string): boolean {
  return /.\..+\.dlq$/.test(name)
}
