import { jsonCodec, textCodec } from 'concordat/core'
import fc from 'fast-check'
import { expect, it } from 'vitest'

const character = fc
  .integer({ min: 0, max: 0x10_ffff })
  .filter((point) => point < 0xd800 || point > 0xdfff)
  .map((point) => String.fromCodePoint(point))

it('jsonCodec gives back every JSON value', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      expect(JSON.stringify(jsonCodec.decode(jsonCodec.encode(value)))).toBe(JSON.stringify(value))
    }),
  )
})

it('textCodec gives back every well-formed string', () => {
  fc.assert(
    fc.property(fc.string({ unit: character }), (text) => {
      expect(textCodec.decode(textCodec.encode(text))).toBe(text)
    }),
  )
})
