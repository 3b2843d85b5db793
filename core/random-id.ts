import { randomFillSync } from 'node:crypto'

const BYTES = 16
const pool = Buffer.alloc(256 * BYTES)
let used = pool.length

/** 128 random bits in 32 hexadecimal digits. Drawn in batches: one draw per lock would be a tenth of its cost. */
export function randomId(): string {
  if (used === pool.length) {
    randomFillSync(pool)
    used = 0
  }
  used += BYTES
  return pool.toString('hex', used - BYTES, used)
}

/** Discards the ids of `randomId` that were drawn in advance, for `restartIds`. */
export function restartRandomIds(): void {
  used = pool.length
}
