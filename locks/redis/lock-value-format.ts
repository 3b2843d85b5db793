/** Format of the values of locks, and of the tombstones of those that were given up or ended by force. */
import type { ForceOptions } from '../lock.ts'
import type { ClaimTerms, NotHeld } from '../store.ts'

/**
 * `<client>.<random>.<kind>.<owner>`, so that a script can tell from a value in the queue whom to wake and how many holders it
 * accepts beside it. Kind: `x` exclusive, `s` reader, `p3` one of three permits; `x+5000` with a lock delay.
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

/** A tombstone contains `given up`, or who ended the lease by force and why. */
export function forcedMark(force: ForceOptions): string {
  return JSON.stringify(force)
}

/** Reads a script's reply for a claim that is not held: the text of its tombstone, or 0. */
export function notHeld(reply: unknown): NotHeld {
  const forced = typeof reply === 'string' && reply.startsWith('{') ? readMark(reply) : undefined
  return forced === undefined ? 'lost' : { forced }
}

/** `undefined`: another program wrote it. */
export function readMark(text: string): ForceOptions | undefined {
  const { by, reason } = (readJson(text) ?? {}) as { readonly by?: unknown; readonly reason?: unknown }
  return typeof by === 'string' && typeof reason === 'string' ? { by, reason } : undefined
}

/** `undefined`: it is not JSON. */
export function readJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
