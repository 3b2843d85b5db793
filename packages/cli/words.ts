/**
 * Words that the command line and the page of the console share. Has no imports, because the page runs in a browser.
 *
 * @module
 */

/**
 * A number with its noun: `1 key`, `2 keys`. Include words that agree with it: `counted(n, 'key is held', 'keys are held')`.
 * @param many @default `one` with an s
 */
export function counted(count: number, one: string, many: string = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`
}

/** Limit of counted rows: a count of this value means at least that many. `OutboxStats` has the same limit. */
export const MOST_COUNTED = 100_000

const WORDS = 6
const MAX_LENGTH = 48

/** Name of every plain `Error`, which identifies none. */
const PLAIN = 'Error'

interface Named {
  readonly code?: string | undefined
  readonly name?: string | undefined
  readonly message?: string | undefined
}

/**
 * Shortens an error for a column of a list: returns its code, otherwise the name of its class, otherwise the first words of its
 * message; `undefined` without any of them.
 */
export function failureName({ code, name, message }: Named): string | undefined {
  const said = [code, name].find((each) => each !== undefined && each !== '' && each !== PLAIN)
  if (said !== undefined || message === undefined || message === '') return said ?? code ?? name
  const words = message.split(/\s+/)
  const first = words.slice(0, WORDS).join(' ').slice(0, MAX_LENGTH)
  return first.length < words.join(' ').length ? `${first}...` : first
}
