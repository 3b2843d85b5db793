/** Formats output: tables and times, without secrets. */
import { duration } from '../doctor/line.ts'

export { printable, withoutSecrets } from 'concordat/extension'
export { printableJson, printableLines } from '../printable.ts'
export { table } from '../text-table.ts'

export function ago(at: number, now: number = Date.now()): string {
  return `${duration(now - at)} ago`
}

export function iso(at: number): string {
  return new Date(at).toISOString()
}
