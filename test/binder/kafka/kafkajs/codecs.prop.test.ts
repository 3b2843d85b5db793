import { createRequire } from 'node:module'
import fc from 'fast-check'
import { describe, it } from 'vitest'
import { decodeLz4Frame, decodeXerial, encodeLz4Frame, encodeXerial, type Lz4Blocks, type Snappy } from '../inside.ts'

const require = createRequire(import.meta.url)
const lz4 = require('lz4js') as Lz4Blocks
const snappy = require('snappyjs') as Snappy

/** From what does not get smaller to what almost vanishes, over the size of a block. */
const bytes = fc
  .tuple(fc.uint8Array({ minLength: 1, maxLength: 300 }), fc.integer({ min: 0, max: 1_000 }))
  .map(([part, times]) => Buffer.concat(Array.from({ length: times }, () => part)))

const codecs = [
  ['lz4', (raw: Buffer) => encodeLz4Frame(lz4, raw), (packed: Buffer) => decodeLz4Frame(lz4, packed)],
  ['snappy', (raw: Buffer) => encodeXerial(snappy, raw), (packed: Buffer) => decodeXerial(snappy, packed)],
] as const

describe.for(codecs)('%s', ([, encode, decode]) => {
  it('gives back what it was given', ({ expect }) => {
    fc.assert(
      fc.property(bytes, (raw) => {
        expect(decode(encode(raw)).equals(raw)).toBe(true)
      }),
    )
  })

  it('throws at what ends too early', ({ expect }) => {
    const packed = encode(Buffer.alloc(100_000, 'abc'))
    for (const length of [9, 18, packed.length - 5]) expect(() => decode(packed.subarray(0, length))).toThrow()
  })
})
