/** Names of the channels that hold dead letters. */

/** The channel with the dead letters of a group: `<destination>.<group>.dlq`. */
export function deadLetterName(destination: string, group: string): string {
  return `${destination}.${group}.dlq`
}

/** Whether it is a channel with the dead letters of a group, by its name. */
export function isDeadLetterName(name: string): boolean {
  return /.\..+\.dlq$/.test(name)
}
