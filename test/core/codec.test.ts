import { inspect } from 'node:util'
import { bytesCodec, CodecError, jsonCodec, textCodec } from 'concordat/core'
import { describe, expect, it } from 'vitest'

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)
const INVALID_UTF8 = new Uint8Array([0x68, 0xff, 0xfe])

describe('jsonCodec', () => {
  it('keeps a __proto__ key as data, away from any prototype', () => {
    const decoded = jsonCodec.decode(utf8('{"__proto__": {"polluted": true}}')) as object
    expect(Object.getPrototypeOf(decoded)).toBe(Object.prototype)
    expect(Object.hasOwn(decoded, '__proto__')).toBe(true)
    expect('polluted' in {}).toBe(false)
  })

  it.for([
    [undefined, 'value has no JSON form: undefined'],
    [() => 1, 'value has no JSON form: function'],
    [10n, 'value has no JSON form: '],
  ] as const)('refuses to encode %o', ([value, message]) => {
    expect(() => jsonCodec.encode(value)).toThrow(CodecError)
    expect(() => jsonCodec.encode(value)).toThrow(message)
  })

  it('refuses to encode a ring', () => {
    const ring: { self?: unknown } = {}
    ring.self = ring
    expect(() => jsonCodec.encode(ring)).toThrow(CodecError)
  })

  it.for([
    ['secret', 'not JSON: an unexpected character, 6 bytes'],
    ['{"secret": 1', 'not JSON: wrong at position 12, 12 bytes'],
    ['{"secret": secret}', /^not JSON: /],
    ['"secret', /^not JSON: /],
    ['', 'not JSON: it ends too early, 0 bytes'],
  ] as const)('describes the mistake in %s and does not repeat it', ([text, message]) => {
    const error = thrownBy(() => jsonCodec.decode(utf8(text))) as Error
    expect(error.message).toMatch(message)
    expect(inspect(error)).not.toContain('secret')
  })

  it('refuses input without JSON or UTF-8, with the cause', () => {
    expect(() => jsonCodec.decode(utf8('{'))).toThrow(/^not JSON: /)
    expect(() => jsonCodec.decode(new Uint8Array())).toThrow(CodecError)
    const error = thrownBy(() => jsonCodec.decode(INVALID_UTF8))
    expect(error).toMatchObject({ message: '3 bytes are not valid UTF-8', contentType: 'application/json' })
    expect((error as Error).cause).toBeInstanceOf(TypeError)
  })
})

describe('textCodec', () => {
  it.each([[5], [null], [{}]])('rejects %o as no text', (value) => {
    expect(() => textCodec.encode(value as unknown as string)).toThrow(CodecError)
    expect(() => textCodec.encode(value as unknown as string)).toThrow('expected a string, got ')
  })

  it('keeps a byte order mark', () => {
    expect(textCodec.decode(textCodec.encode('\uFEFFtext'))).toBe('\uFEFFtext')
  })

  it('refuses to encode half a surrogate pair, which would come back as another character', () => {
    expect(() => textCodec.encode('a\ud800b')).toThrow(CodecError)
  })

  it('refuses bytes without UTF-8', () => {
    expect(() => textCodec.decode(INVALID_UTF8)).toThrow(CodecError)
  })
})

it('bytesCodec sends the same bytes, as a copy that the sender cannot change', () => {
  const sent = bytesCodec.encode(INVALID_UTF8)
  expect(bytesCodec.decode(sent)).toEqual(INVALID_UTF8)
  expect(sent.buffer).not.toBe(INVALID_UTF8.buffer)
})

it('codecs declare their media type', () => {
  expect([jsonCodec, textCodec, bytesCodec].map(({ contentType }) => contentType)).toEqual([
    'application/json',
    'text/plain; charset=utf-8',
    'application/octet-stream',
  ])
})

function thrownBy(work: () => unknown): unknown {
  try {
    work()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

describe('JSON that is nested without end', () => {
  const nested = (levels: number): Buffer => Buffer.from('['.repeat(levels) + ']'.repeat(levels))

  it('is refused before it is parsed', () => {
    expect(() => jsonCodec.decode(nested(1_000_000))).toThrow('nested deeper than 1000 levels, 2000000 bytes')
  })

  it('ignores brackets in texts, and long lists', () => {
    const value = { text: `${'["{\\'.repeat(50_000)}"`, list: Array.from({ length: 50_000 }, () => [{}]) }
    expect(jsonCodec.decode(jsonCodec.encode(value))).toEqual(value)
  })
})
