/**
 * Words that the command line and the page of the console share. Without imports: the page runs in a browser.
 *
 * @module
 */

/**
 * A number with its noun: `1 key`, `2 keys`. What agrees with it goes along: `counted(n, 'key is held', 'keys are held')`.
 * @param many @default `one` with an s
 */
export function counted(count: number, one: string, many: string = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`
}

/** Counts of rows stop here: a count that has come to it means at least that many. So do those of `OutboxStats`. */
export const MOST_COUNTED = 100_000

const WORDS = 6
const MAX_LENGTH = 48

/** Name of every plain `Error`, which tells none from another. */
const PLAIN = 'Error'

interface Named {
  readonly code?: string | undefined
  readonly name?: string | undefined
  readonly message?: string | undefined
}

/**
 * Shortens an error for a column of a list: returns its code, else the name of its class, else the first words of its message;
 * `undefined` when it has none of them.
 */
export function failureName({ code, name, message }: Named): string | undefined {
  const said = [code, name].find((each) => each !== undefined && each !== '' && each !== PLAIN)
  if (said !== undefined || message === undefined || message === '') return said ?? code ?? name
  const words = message.split(/\s+/)
  const first = words.slice(0, WORDS).join(' ').slice(0, MAX_LENGTH)
  return first.length < words.join(' ').length ? `${first}...` : first
}
