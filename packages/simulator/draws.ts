/**
 * Randomness that depends only on the seed and the name of what is drawn. A draw therefore stays the same if another one is left
 * out, which shortening a history requires; a generator called in sequence would shift all later draws.
 */

/** 0 <= x < 1, the same for the same seed and words. @see FNV-1a, with the last step of MurmurHash3 */
export function draw(seed: number, ...words: readonly (string | number)[]): number {
  return hash(`${seed}/${words.join('/')}`) / 2 ** 32
}

/** A short name of a long key, for command lines. */
export function shortName(key: string): string {
  return hash(key).toString(36).padStart(7, '0')
}

function hash(text: string): number {
  let value = 0x811c_9dc5
  for (let index = 0; index < text.length; index++) value = Math.imul(value ^ text.charCodeAt(index), 0x0100_0193)
  value = Math.imul(value ^ (value >>> 16), 0x85eb_ca6b)
  value = Math.imul(value ^ (value >>> 13), 0xc2b2_ae35)
  return (value ^ (value >>> 16)) >>> 0
}

/** For code that asks the world for numbers (`Math.random`, random bytes) in sequence. */
export class Stream {
  #state: number

  constructor(seed: number) {
    this.#state = hash(`stream/${seed}`)
  }

  /** 0 <= x < 1 @see https://gist.github.com/tommyettinger/46a874533244883189143505d203312c "mulberry32" */
  next(): number {
    this.#state = (this.#state + 0x6d2b_79f5) >>> 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  fill(bytes: Uint8Array): void {
    for (let index = 0; index < bytes.length; index++) bytes[index] = this.next() * 256
  }
}
