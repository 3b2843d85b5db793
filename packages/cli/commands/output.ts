/** Formats output: tables and times, without secrets. */
import { duration } from '../doctor/line.ts'

export { printable, withoutSecrets } from 'concordat/extension'
export { printableJson, printableLines } from '../printable.ts'
export { table } from '../text-table.ts'

/** Line behind a list that ends at a limit; empty when the list has no more. @param advice how to see the others */
export function cutLine(more: boolean, most: number, advice: string): string {
  return more ? `there may be more than these ${most}${advice}\n` : ''
}

export function ago(at: number, now: number = Date.now()): string {
  return `${duration(now - at)} ago`
}

export function iso(at: number): string {
  return new Date(at).toISOString()
}
