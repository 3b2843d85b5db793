import { v5, v7 } from 'uuid'

/** Random bytes are drawn for this many ids at a time: a draw costs more than everything else about an id. */
const IDS_PER_DRAW = 256

const state = { random: new Uint8Array(0), next: 0, ms: 0, sequence: 0 }

/**
 * A new UUIDv7: unique without coordination, sortable by creation time, and strictly rising within this process.
 * @see RFC 9562 section 5.7
 */
export function newId(): string {
  if (state.next === state.random.length) {
    state.random = crypto.getRandomValues(new Uint8Array(16 * IDS_PER_DRAW))
    state.next = 0
  }
  const random = state.random.subarray(state.next, (state.next += 16))
  advance(Date.now(), random)
  return v7({ random, msecs: state.ms, seq: state.sequence })
}

/** What was drawn beforehand is forgotten, so that the next ids follow from the randomness and the time of now alone. */
export function restartIds(): void {
  Object.assign(state, { random: new Uint8Array(0), next: 0, ms: 0, sequence: 0 })
}

/** A new millisecond starts at a random 31-bit sequence; within one, or when the clock goes back, it counts up. */
function advance(now: number, random: Uint8Array): void {
  if (now > state.ms) {
    state.ms = now
    state.sequence = new DataView(random.buffer, random.byteOffset).getUint32(0) >>> 1
  } else if (state.sequence < 0xffff_ffff) state.sequence++
  else {
    state.ms++
    state.sequence = 0
  }
}

/** The one UUIDv5 of these words: what is made again from the same origin gets the same id. @see RFC 9562 section 5.5 */
export function derivedId(...words: readonly (string | number)[]): string {
  return v5(JSON.stringify(words), NAMESPACE)
}

const NAMESPACE = 'c0c07da7-0b5e-5a6a-9d3b-0e5f3f2f5a11'
