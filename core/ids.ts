import { v5 } from 'uuid'
import { restartRandomIds } from './random-id.ts'

/** Number of ids for which random bytes are drawn at once: a draw costs more than everything else about an id. */
const IDS_PER_DRAW = 256
const BYTES = 16
const HEX: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/**
 * `hex` is `random` as text; `head` is the prefix shared by ids of one millisecond while the upper 18 bits of the sequence are
 * equal.
 */
const state = {
  random: new Uint8Array(0),
  hex: '',
  next: 0,
  ms: 0,
  sequence: 0,
  head: '',
  headMs: -1,
  headSequence: -1,
}

/**
 * A new UUIDv7: unique without coordination, sortable by creation time, and strictly increasing within this process.
 * @see RFC 9562 section 5.7
 */
export function newId(): string {
  if (state.next === state.random.length) draw()
  const at = state.next
  state.next += BYTES
  advance(Date.now(), at)
  const { random, hex, sequence } = state
  // Same format as `v7` of `uuid`, which assembles each id from single bytes and takes three times as long.
  const middle = HEX[(sequence >>> 6) & 0xff] as string
  const last = HEX[((sequence << 2) & 0xff) | ((random[at + 10] as number) & 0x03)] as string
  return `${headOf()}${middle}-${last}${hex.slice(2 * at + 22, 2 * at + 32)}`
}

function draw(): void {
  const random = crypto.getRandomValues(new Uint8Array(BYTES * IDS_PER_DRAW))
  state.random = random
  state.hex = Buffer.from(random.buffer, random.byteOffset, random.byteLength).toString('hex')
  state.next = 0
}

/** The time, and the upper 18 bits of the sequence. */
function headOf(): string {
  const { ms, sequence } = state
  const upper = sequence >>> 14
  if (ms === state.headMs && upper === state.headSequence) return state.head
  const time = ms.toString(16).padStart(12, '0')
  const version = (0x7000 | (upper >>> 6)).toString(16)
  state.head = `${time.slice(0, 8)}-${time.slice(8)}-${version}-${HEX[0x80 | (upper & 0x3f)]}`
  state.headMs = ms
  state.headSequence = upper
  return state.head
}

/**
 * Discards the ids of `newId` and `randomId` that were drawn in advance: the next ids depend only on the current randomness and
 * time.
 */
export function restartIds(): void {
  Object.assign(state, { random: new Uint8Array(0), hex: '', next: 0, ms: 0, sequence: 0 })
  restartRandomIds()
}

/** A new millisecond starts at a random 31-bit sequence; within a millisecond, or when the clock goes back, it counts up. */
function advance(now: number, at: number): void {
  if (now > state.ms) {
    state.ms = now
    state.sequence = new DataView(state.random.buffer, state.random.byteOffset + at).getUint32(0) >>> 1
  } else if (state.sequence < 0xffff_ffff) state.sequence++
  else {
    state.ms++
    state.sequence = 0
  }
}

/** The UUIDv5 of these words: the same words always give the same id. @see RFC 9562 section 5.5 */
export function derivedId(...words: readonly (string | number)[]): string {
  return v5(JSON.stringify(words), NAMESPACE)
}

const NAMESPACE = 'c0c07da7-0b5e-5a6a-9d3b-0e5f3f2f5a11'
