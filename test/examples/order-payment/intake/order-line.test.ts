import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseOrderLine } from '../../../../examples/order-payment/intake/order-line.ts'
import { inputs } from '../../../support/suite/night.ts'

const LINE = { sku: 'apple', quantity: 2, unitPriceCents: 150 }
const ORDER = { orderId: 'o-1', customer: 'c-7', card: 'tok_ok', lines: [LINE] }

function parse(text: string) {
  return parseOrderLine(Buffer.from(text))
}

function parseWith(change: object) {
  return parse(JSON.stringify({ ...ORDER, ...change }))
}

describe('a valid order line', () => {
  test('is the order', () => {
    expect(parse(JSON.stringify(ORDER))).toEqual({ kind: 'order', order: ORDER })
  })

  test.each([
    ['white space around it', `\t ${JSON.stringify(ORDER)} \r`],
    ['a byte order mark before it', `\uFEFF${JSON.stringify(ORDER)}`],
    ['fields that nobody knows', JSON.stringify({ ...ORDER, note: 'by noon', __proto__: null })],
    ['a field called __proto__', `{"__proto__":{"quantity":1},${JSON.stringify(ORDER).slice(1)}`],
    ['another order of fields', JSON.stringify(Object.fromEntries(Object.entries(ORDER).toReversed()))],
  ])('may have %s', (_, text) => {
    expect(parse(text)).toEqual({ kind: 'order', order: ORDER })
  })

  test('may cost nothing', () => {
    expect(parseWith({ lines: [{ ...LINE, unitPriceCents: 0 }] })).toMatchObject({ kind: 'order' })
  })

  test('may be written 2.0 or 2e0, which is 2', () => {
    const text = JSON.stringify(ORDER).replace('"quantity":2', '"quantity":2.0')
    expect(parse(text)).toEqual({ kind: 'order', order: ORDER })
  })

  test('may total the largest safe integer', () => {
    const lines = [{ ...LINE, quantity: 1, unitPriceCents: Number.MAX_SAFE_INTEGER }]
    expect(parseWith({ lines })).toMatchObject({ kind: 'order' })
  })
})

const TEXT = 'expected a text of 1 to 200 characters'

describe('an order line that is not', () => {
  test.each([
    [
      'negative quantity',
      { lines: [{ ...LINE, quantity: -1 }] },
      'lines[0].quantity: expected a positive integer, got -1',
    ],
    [
      'no quantity at all',
      { lines: [{ ...LINE, quantity: 0 }] },
      'lines[0].quantity: expected a positive integer, got 0',
    ],
    ['minus zero', { lines: [{ ...LINE, quantity: -0.0 }] }, 'lines[0].quantity: expected a positive integer, got 0'],
    [
      'half a unit',
      { lines: [LINE, { ...LINE, quantity: 1.5 }] },
      'lines[1].quantity: expected a positive integer, got 1.5',
    ],
    [
      'text for a number',
      { lines: [{ ...LINE, quantity: '2' }] },
      'lines[0].quantity: expected a positive integer, got "2"',
    ],
    [
      'null for a number',
      { lines: [{ ...LINE, quantity: null }] },
      'lines[0].quantity: expected a positive integer, got null',
    ],
    [
      'negative price',
      { lines: [{ ...LINE, unitPriceCents: -1 }] },
      'lines[0].unitPriceCents: expected an integer of 0 or more, got -1',
    ],
    [
      'fraction of a cent',
      { lines: [{ ...LINE, unitPriceCents: 0.5 }] },
      'lines[0].unitPriceCents: expected an integer of 0 or more, got 0.5',
    ],
    [
      'unsafe quantity',
      { lines: [{ ...LINE, quantity: 2 ** 53 }] },
      'lines[0].quantity: expected an integer of at most 9007199254740991, got 9007199254740992',
    ],
    [
      'unsafe total',
      { lines: [{ ...LINE, quantity: 2, unitPriceCents: 2 ** 52 }] },
      'lines: expected a total of at most 9007199254740991 cents, got 9007199254740992',
    ],
    ['no lines', { lines: [] }, 'lines: expected at least one line, got an empty list'],
    ['lines that are no list', { lines: { 0: LINE } }, 'lines: expected a list of lines, got an object'],
    [
      'a line that is none',
      { lines: ['apple'] },
      'lines[0]: expected an object with sku, quantity and unitPriceCents, got "apple"',
    ],
    ['no sku', { lines: [{ quantity: 1, unitPriceCents: 1 }] }, `lines[0].sku: ${TEXT}, got nothing`],
    ['a number for an id', { orderId: 1 }, `orderId: ${TEXT}, got 1`],
    ['an empty id', { orderId: '' }, `orderId: ${TEXT}, got ""`],
    ['no customer', { customer: undefined }, `customer: ${TEXT}, got nothing`],
    ['an absurd id', { orderId: 'x'.repeat(201) }, `orderId: ${TEXT}, got "${'x'.repeat(56)}...`],
    [
      'NUL in an id',
      { orderId: 'a\u0000b' },
      'orderId: expected a text without control characters or broken Unicode, got "a\\u0000b"',
    ],
    [
      'half a character',
      { customer: '\ud800' },
      'customer: expected a text without control characters or broken Unicode, got "\\ud800"',
    ],
  ])('%s', (_, change, error) => {
    expect(parseWith(change)).toEqual({ kind: 'invalid', error })
  })

  test.each([
    ['5', 'order: expected an object with orderId, customer, card and lines, got 5'],
    ['null', 'order: expected an object with orderId, customer, card and lines, got null'],
    ['[1,2]', 'order: expected an object with orderId, customer, card and lines, got a list of 2'],
    ['{"orderId":"o-1"', /^not JSON: /],
    ['order please', /^not JSON: /],
    [JSON.stringify(ORDER).replace('2,', '1e400,'), 'lines[0].quantity: expected a positive integer, got Infinity'],
    [JSON.stringify(ORDER).replace('2,', '9007199254740993,'), /^lines\[0\].quantity: expected an integer of at most/],
    ['['.repeat(60_000), /^not JSON: /],
    ['{}', /^orderId: .*; customer: .*; card: .*; and 1 more$/],
  ])('%.40s', (text, error) => {
    const parsed = parse(text)
    expect(parsed).toMatchObject({
      kind: 'invalid',
      error: error instanceof RegExp ? expect.stringMatching(error) : error,
    })
  })

  test('more than 64 KiB', () => {
    expect(parseOrderLine(undefined)).toEqual({ kind: 'invalid', error: 'longer than 64 KiB (65536 bytes)' })
  })

  test('bytes that are no UTF-8', () => {
    expect(parseOrderLine(Uint8Array.of(0x22, 0xff, 0x22))).toEqual({ kind: 'invalid', error: 'not UTF-8 text' })
  })
})

describe('any bytes at all', () => {
  const sane = (bytes: Uint8Array): void => {
    const parsed = parseOrderLine(bytes)
    if (parsed.kind !== 'invalid') return
    expect(parsed.error.length).toBeLessThan(1_000)
    expect(parsed.error).not.toMatch(/[\n\r]/)
  }

  test('give an answer of one line', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), sane), { numRuns: inputs(2_000) })
  })

  test('any JSON is either an order or refused', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 5 }), (text) => sane(Buffer.from(text))),
      { numRuns: inputs(2_000) },
    )
  })

  test('any change of a valid order is either an order or refused', () => {
    const value = fc.jsonValue({ maxDepth: 2 })
    const fields = fc.constantFrom('orderId', 'customer', 'card', 'lines', '__proto__', 'constructor', 'toString')
    const lineFields = fc.constantFrom('sku', 'quantity', 'unitPriceCents', '__proto__')
    fc.assert(
      fc.property(fields, lineFields, value, value, (field, lineField, one, other) => {
        const line = { ...LINE, [lineField]: other }
        sane(Buffer.from(JSON.stringify({ ...ORDER, lines: [line], [field]: one })))
      }),
      { numRuns: inputs(2_000) },
    )
  })
})
