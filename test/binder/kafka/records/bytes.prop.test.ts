import fc from 'fast-check'
import { describe, it } from 'vitest'
import { cuts, piecesOf } from '../in-pieces.ts'
import { ByteReader, ByteWriter, type ChunkedBytes } from '../inside.ts'

const WHOLE = 2 ** 53 - 1
const written = fc.record({
  small: fc.integer({ min: -128, max: 127 }),
  short: fc.integer({ min: -32_768, max: 32_767 }),
  long: fc.integer({ min: -WHOLE, max: WHOLE }),
  texts: fc.array(fc.string({ unit: 'grapheme', maxLength: 20 }), { maxLength: 5 }),
  field: fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
  last: fc.integer(),
})

/** An answer, and the same in pieces. */
function bytesOf({
  small,
  short,
  long,
  texts,
  field,
  last,
}: typeof written extends fc.Arbitrary<infer T> ? T : never): Buffer {
  const to = new ByteWriter().int8(small).int16(short).int64(long)
  to.array(texts, (text) => to.string(text))
  return to.bytesField(field).bytesField(field).int32(last).bytes
}

function read(pieces: ChunkedBytes) {
  const from = new ByteReader(pieces)
  const [small, short, long] = [from.int8(), from.int16(), from.int64()]
  const texts = from.array(() => from.string())
  return { small, short, long, texts, field: from.bytesField(), same: from.piecesField().joined(), last: from.int32() }
}

describe('an answer', () => {
  it('is read unchanged, in any pieces', ({ expect }) => {
    fc.assert(
      fc.property(written, cuts, (fields, at) => {
        expect(read(piecesOf(bytesOf(fields), at))).toEqual({ ...fields, same: fields.field })
      }),
    )
  })

  it('an answer that ends too early is a RangeError, in any pieces', ({ expect }) => {
    fc.assert(
      fc.property(written, cuts, fc.nat(), (fields, at, missing) => {
        const all = bytesOf(fields)
        const short = all.subarray(0, all.length - 1 - (missing % all.length))
        expect(() => read(piecesOf(short, at))).toThrow(RangeError)
      }),
    )
  })
})
