/** What is printed: tables, moments, and no secrets. */
import { duration } from '../doctor/line.ts'

export { printable, table } from '../print.ts'

export function ago(at: number, now: number = Date.now()): string {
  return `${duration(now - at)} ago`
}

export function iso(at: number): string {
  return new Date(at).toISOString()
}

/** Passwords in addresses, wherever they come from. */
export function withoutSecrets(line: string): string {
  return line
    .replaceAll(/(:\/\/[^\s:/@]*):[^\s]*@/g, '$1:***@')
    .replaceAll(/([?&](?:password|sslpassword)=)[^&\s"']*/gi, '$1***')
}
