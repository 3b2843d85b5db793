/**
 * Names of prepared transactions: `concordat:<whose>:<n>:<key>`. `whose` is a hash of the database, the schema and the saga step,
 * because a name is unique on the whole server; `n` counts the calls of the handler, so that abandoning one of them never affects
 * the next; the key is for display.
 */
import { createHash } from 'node:crypto'
import { stepParameters } from '../participant/barrier.ts'
import type { StepOwner } from '../participant/barrier-entry.ts'

/** Prefix of the names of all prepared transactions of this package. */
export const GID_PREFIX = 'concordat:'

/** Returns the prefix of the names of a saga step's transactions, for all calls of its handler. */
export function gidBase(place: readonly string[], step: StepOwner): string {
  const whose = JSON.stringify([...place, ...stepParameters(step)])
  return `${GID_PREFIX}${createHash('sha256').update(whose).digest('base64url').slice(0, 22)}:`
}

/** Returns this prefix of a name. */
export function baseOf(gid: string): string {
  return gid.slice(0, gid.indexOf(':', GID_PREFIX.length) + 1)
}

/**
 * @param last name of the previous call; `null` without one
 * @param mostBytes limit of the server
 */
export function nextGid(base: string, last: string | null, key: string, mostBytes: number): string {
  const n = last !== null && last.startsWith(base) ? Number(last.slice(base.length).split(':', 1)[0]) + 1 : 1
  return `${base}${n}:${key.replaceAll(/[^\w./-]/g, '~')}`.slice(0, mostBytes)
}
