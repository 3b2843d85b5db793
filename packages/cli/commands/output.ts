/** Formats output: tables and times, without secrets. */
import { duration } from '../doctor/line.ts'

export { printable, withoutSecrets } from 'concordat/extension'
export { printableJson, printableLines } from '../printable.ts'
export { table } from '../text-table.ts'

/** Line below a list that ends at a limit; empty when the list has no more. @param advice how to see the others */
export function cutLine(more: boolean, most: number, advice: string): string {
  return more ? `there may be more than these ${most}${advice}\n` : ''
}

const MOST_OF_KEY = 60

/**
 * A message's key, shortened for a table: senders choose keys, and a long one would widen every line. `--json` prints all of
 * it.
 */
export function shownKey(key: string | null): string {
  if (key === null) return '-'
  return key.length <= MOST_OF_KEY ? key : `${key.slice(0, MOST_OF_KEY - 1).toWellFormed()}…`
}

export function ago(at: number, now: number = Date.now()): string {
  return `${duration(now - at)} ago`
}

export function iso(at: number): string {
  return new Date(at).toISOString()
}
