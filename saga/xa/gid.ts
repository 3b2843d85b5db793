/**
 * The names of prepared transactions: `concordat:<whose>:<n>:<key>`. `whose` is a hash of the database, the schema and the
 * saga step, since a name is taken on the whole server; `n` counts the calls of the handler, so that who gives up one of
 * them never hits the next; the key is there for people to read.
 */
import { createHash } from 'node:crypto'
import { stepParameters } from '../participant/barrier.ts'
import type { StepOwner } from '../participant/barrier-entry.ts'

/** Prefix of the names of all our prepared transactions. */
export const GID_PREFIX = 'concordat:'

/** Prefix of the names of a saga step's transactions, whichever call of its handler it was. */
export function gidBase(place: readonly string[], step: StepOwner): string {
  const whose = JSON.stringify([...place, ...stepParameters(step)])
  return `${GID_PREFIX}${createHash('sha256').update(whose).digest('base64url').slice(0, 22)}:`
}

/** The same, of a name. */
export function baseOf(gid: string): string {
  return gid.slice(0, gid.indexOf(':', GID_PREFIX.length) + 1)
}

/**
 * @param last the name of the call before; `null`: there was none
 * @param mostBytes what the server takes
 */
export function nextGid(base: string, last: string | null, key: string, mostBytes: number): string {
  const n = last !== null && last.startsWith(base) ? Number(last.slice(base.length).split(':', 1)[0]) + 1 : 1
  return `${base}${n}:${key.replaceAll(/[^\w./-]/g, '~')}`.slice(0, mostBytes)
}
