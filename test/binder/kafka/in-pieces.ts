import fc from 'fast-check'
import { ChunkedBytes } from './inside.ts'

/** Positions at which bytes are cut. */
export const cuts: fc.Arbitrary<number[]> = fc.array(fc.nat(), { maxLength: 12 })

/** Cuts the bytes as a socket might deliver them. */
export function piecesOf(all: Buffer, at: readonly number[]): ChunkedBytes {
  const borders = [0, ...at.map((cut) => cut % (all.length + 1)).toSorted((a, b) => a - b), all.length]
  return new ChunkedBytes(borders.slice(1).map((end, i) => Buffer.from(all.subarray(borders[i], end))))
}
