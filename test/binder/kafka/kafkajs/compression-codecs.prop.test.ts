import { createRequire } from 'node:module'
import fc from 'fast-check'
import { describe, it } from 'vitest'
import { decodeLz4Frame, decodeXerial, encodeLz4Frame, encodeXerial, type Lz4Blocks, type Snappy } from '../inside.ts'

const require = createRequire(import.meta.url)
const lz4 = require('lz4js') as Lz4Blocks
const snappy = require('snappyjs') as Snappy

/** Bytes from incompressible to almost empty when compressed, and larger than a block. */
const bytes = fc
  .tuple(fc.uint8Array({ minLength: 1, maxLength: 300 }), fc.integer({ min: 0, max: 1_000 }))
  .map(([part, times]) => Buffer.concat(Array.from({ length: times }, () => part)))

const codecs = [
  ['lz4', (raw: Buffer) => encodeLz4Frame(lz4, raw), (packed: Buffer) => decodeLz4Frame(lz4, packed, 1e9)],
  ['snappy', (raw: Buffer) => encodeXerial(snappy, raw), (packed: Buffer) => decodeXerial(snappy, packed, 1e9)],
] as const

describe.for(codecs)('%s', ([, encode, decode]) => {
  it('restores the original bytes', ({ expect }) => {
    fc.assert(
      fc.property(bytes, (raw) => {
        expect(decode(encode(raw)).equals(raw)).toBe(true)
      }),
    )
  })

  it('throws at what ends too early', ({ expect }) => {
    const packed = encode(Buffer.alloc(100_000, 'abc'))
    for (const length of [9, 17, 18, packed.length - 5])
      expect(() => decode(packed.subarray(0, length))).toThrow(/LZ4|snappy/)
  })
})

it('the LZ4 decoder refuses a block that becomes larger than a block may be, before it is written', ({ expect }) => {
  const most = 64 * 1_024
  // A match of 255 bytes more with each of these, behind one literal.
  const block = Buffer.concat([Buffer.from([0x1f, 0x61, 1, 0]), Buffer.alloc(most - 16, 0xff), Buffer.from([0])])
  const frame = encodeLz4Frame(lz4, Buffer.alloc(10))
  const size = Buffer.alloc(4)
  size.writeUInt32LE(block.length)
  const bomb = Buffer.concat([frame.subarray(0, 7), size, block, Buffer.alloc(4)])
  expect(() => decodeLz4Frame(lz4, bomb, 1e9)).toThrow(/becomes more than 65536 bytes/)
})

it('the snappy decoder refuses an impossible size, before it allocates memory', ({ expect }) => {
  const bomb = Buffer.from([0xff, 0xff, 0xff, 0xff, 0x03, 0, 0x61])
  expect(() => decodeXerial(snappy, bomb, 1e9)).toThrow(RangeError)
  // A literal of minus six bytes, which leads back to where it stands.
  const endless = Buffer.from([0x05, 0xfc, 0xf9, 0xff, 0xff, 0xff, 0, 0, 0, 0])
  expect(() => decodeXerial(snappy, endless, 1e9)).toThrow(RangeError)
  expect(() => decodeXerial(snappy, Buffer.alloc(0), 1e9)).toThrow('a block of 0 bytes is no snappy')
})
