import type { EncodedMessage } from 'concordat/binder'
import fc from 'fast-check'
import type { HeaderValue } from '../../support/inside/binder.ts'

export function plainMessage(fields: Partial<EncodedMessage> = {}): EncodedMessage {
  return {
    id: 'm1',
    destination: 'orders.placed',
    key: null,
    type: 'orders.placed',
    source: 'tests',
    contentType: 'application/json',
    time: Date.UTC(2026, 10, 20, 8, 0, 0, 250),
    headers: {},
    body: new TextEncoder().encode('{}'),
    ...fields,
  }
}

const headerValue: fc.Arbitrary<HeaderValue> = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 40 }),
  fc.boolean(),
  fc.constant(null),
  fc.uint8Array({ maxLength: 40 }),
  fc.double({ noDefaultInfinity: true, noNaN: true }),
  fc.maxSafeInteger(),
  fc.constantFrom(2 ** 31, 2 ** 32, -(2 ** 31) - 1, 2 ** 50 + 0.5, 2 ** 63, -(2 ** 63), 1e19, -1e19, 1e300, 5e-324),
)

const headerName = fc.oneof(
  fc
    .string({ unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)), minLength: 1 })
    .filter((name) => !/^(concordat-|ce_|cloudevents)/i.test(name)),
  fc.constantFrom('CC', 'BCC', 'x-death', 'x-mine', 'constructor', 'traceparent', 'id', '!'),
)

/** Any message that a binder may pass to a transport. */
export const anyMessage: fc.Arbitrary<EncodedMessage> = fc.record({
  id: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 60 }),
  destination: fc.constant('orders.placed'),
  key: fc.option(fc.string({ unit: 'grapheme', maxLength: 60 }), { nil: null }),
  type: fc.string({ unit: 'grapheme', maxLength: 60 }),
  source: fc.string({ unit: 'grapheme', maxLength: 60 }),
  contentType: fc.constantFrom('application/json', 'application/octet-stream', 'text/plain; charset=utf-8', ''),
  time: fc.date({ noInvalidDate: true, min: new Date(0), max: new Date(4e12) }).map((date) => date.getTime()),
  headers: fc.dictionary(headerName, headerValue, { maxKeys: 8 }).map((headers) => ({ ...headers })),
  body: fc.option(fc.uint8Array({ maxLength: 100 }), { nil: null }),
})
