/** Names of the store's keys, and format of its values. */
import type { ForceOptions } from '../lock.ts'
import type { ClaimTerms, NotHeld } from '../store.ts'

/**
 * The names of one lock, all in one slot through the hash tag. What each of them holds: `scripts.ts`.
 * @param lock `<prefix>{<key>}`
 */
export function lockKeys(lock: string) {
  return {
    lock,
    fence: `${lock}:fence`,
    shared: `${lock}:shared`,
    line: `${lock}:line`,
    notes: `${lock}:notes`,
    audit: `${lock}:audit`,
    dead: (value: string) => `${lock}:dead:${value}`,
  }
}

const SHARED_SUFFIX = ':shared'

/** The user's key, if this is one of the two Redis keys that say who holds it. */
export function heldKey(redisKey: string, prefix: string): string | undefined {
  const lock = redisKey.endsWith(`}${SHARED_SUFFIX}`) ? redisKey.slice(0, -SHARED_SUFFIX.length) : redisKey
  if (!lock.startsWith(`${prefix}{`) || !lock.endsWith('}')) return undefined
  return lock.slice(prefix.length + 1, -1)
}

/**
 * `<client>.<random>.<kind>.<owner>`, so that a script can tell from a value in the line whom to wake and how many it
 * lets in beside it. Kind: `x` exclusive, `s` reader, `p3` one of three permits; `x+5000` with a lock delay.
 */
export function valueOf(client: string, random: string, terms: ClaimTerms): string {
  return `${client}.${random}.${kindOf(terms)}.${encodeURIComponent(terms.owner)}`
}

export function termsOf(value: string): ClaimTerms {
  const [, , kind = '', ...owner] = value.split('.')
  const [, mode, limit = '', lockDelayMs = '0'] = /^([xsp])(\d*)(?:\+(\d+))?$/.exec(kind) ?? []
  return {
    owner: decode(owner.join('.')),
    mode: mode === 'x' ? 'exclusive' : 'shared',
    limit: mode === 'x' ? 1 : mode === 's' ? Number.POSITIVE_INFINITY : Number(limit),
    lockDelayMs: Number(lockDelayMs),
  }
}

function kindOf({ mode, limit, lockDelayMs }: ClaimTerms): string {
  const kind = mode === 'exclusive' ? 'x' : limit === Number.POSITIVE_INFINITY ? 's' : `p${limit}`
  return lockDelayMs === 0 ? kind : `${kind}+${lockDelayMs}`
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** A tombstone says `given up`, or who ended the lease by force and why. */
export function forcedMark(force: ForceOptions): string {
  return JSON.stringify(force)
}

/** Reads a script's answer about a claim that does not hold: the text of its tombstone, or 0. */
export function notHeld(reply: unknown): NotHeld {
  const forced = typeof reply === 'string' && reply.startsWith('{') ? readMark(reply) : undefined
  return forced === undefined ? 'lost' : { forced }
}

/** `undefined`: another program wrote it. */
export function readMark(text: string): ForceOptions | undefined {
  const { by, reason } = (readJson(text) ?? {}) as { readonly by?: unknown; readonly reason?: unknown }
  return typeof by === 'string' && typeof reason === 'string' ? { by, reason } : undefined
}

/** `undefined`: it is no JSON. */
export function readJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
