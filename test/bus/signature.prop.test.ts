import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { canonicalForm, Signer } from './inside.ts'

const fields = fc
  .array(fc.string({ unit: 'binary' }), { minLength: 1, maxLength: 7 })
  .filter((list) => list.every((text) => text.isWellFormed()))
const body = fc.uint8Array({ maxLength: 64 })
const secret = fc.uint8Array({ minLength: 32, maxLength: 64 }).map((bytes) => Buffer.from(bytes))

/** Parts from which the canonical form was made. */
function read(form: Buffer): Buffer[] {
  const found: Buffer[] = []
  for (let at = 0; at < form.length; ) {
    const colon = form.indexOf(':', at)
    const end = colon + 1 + Number(form.subarray(at, colon).toString())
    expect(form[end]).toBe(','.charCodeAt(0))
    found.push(form.subarray(colon + 1, end))
    at = end + 1
  }
  return found
}

describe('the canonical form', () => {
  it('can be read back, so no two messages share one', () => {
    fc.assert(
      fc.property(fields, body, (texts, bytes) => {
        const found = read(canonicalForm(texts, bytes))
        expect(found.slice(0, -1).map(String)).toEqual(texts)
        expect(found.at(-1)?.equals(bytes)).toBe(true)
      }),
    )
  })

  it('keeps adjacent fields apart', () => {
    const forms = [['ab', 'c'], ['a', 'bc'], ['abc'], ['1:a,', 'b'], ['', 'abc']].map((texts) =>
      canonicalForm(texts, Buffer.alloc(0)).toString(),
    )
    expect(new Set(forms).size).toBe(forms.length)
  })
})

describe('a signature', () => {
  it('is valid for exactly the signed content', () => {
    fc.assert(
      fc.property(fields, fields, body, body, secret, (texts, otherTexts, bytes, otherBytes, key) => {
        const signer = new Signer([key], 'bus')
        const signature = signer.sign(texts, bytes)
        expect(signer.check(texts, bytes, signature)).toBe('genuine')
        const isSame = canonicalForm(texts, bytes).equals(canonicalForm(otherTexts, otherBytes))
        expect(signer.check(otherTexts, otherBytes, signature)).toBe(isSame ? 'genuine' : 'forged')
      }),
    )
  })

  it('is taken under any of the secrets, and under no other, nor on another bus', () => {
    fc.assert(
      fc.property(
        fields,
        body,
        fc.uniqueArray(secret, { minLength: 3, maxLength: 3, selector: String }),
        (texts, bytes, keys) => {
          const [first, second, third] = keys as [Buffer, Buffer, Buffer]
          const signature = new Signer([second], 'bus').sign(texts, bytes)
          expect(new Signer([first, second], 'bus').check(texts, bytes, signature)).toBe('genuine')
          expect(new Signer([first, third], 'bus').check(texts, bytes, signature)).toBe('forged')
          expect(new Signer([second], 'other').check(texts, bytes, signature)).toBe('forged')
        },
      ),
    )
  })

  it('a signature of any other form is forged, never an error', () => {
    const signer = new Signer([Buffer.alloc(32, 7)], 'bus')
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.stringMatching(/^[0-9a-fA-F]{60,68}$/)), (text) => {
        expect(signer.check(['a'], Buffer.alloc(0), text)).toBe('forged')
      }),
    )
    expect(signer.check(['a'], Buffer.alloc(0), undefined)).toBe('unsigned')
  })
})
