import { describe, expect, test } from 'vitest'
import { readTraceContext, traceHeaders } from '../support/inside/core.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const SPAN = '00f067aa0ba902b7'
const VALID = `00-${TRACE}-${SPAN}-01`

test('readTraceContext reads the headers of traceHeaders', () => {
  const context = { traceId: TRACE, spanId: SPAN, sampled: true, state: 'a=1,tenant@vendor=x y' }
  expect(traceHeaders(context)).toEqual({ traceparent: VALID, tracestate: 'a=1,tenant@vendor=x y' })
  expect(readTraceContext(traceHeaders(context))).toEqual(context)
  const unsampled = { traceId: TRACE, spanId: SPAN, sampled: false }
  expect(readTraceContext(traceHeaders(unsampled))).toEqual(unsampled)
})

describe('a malformed traceparent counts as absent', () => {
  test.each([
    ['empty', ''],
    ['too short', VALID.slice(0, -1)],
    ['too long for version 00', `${VALID}0`],
    ['version 00 with more fields', `${VALID}-aa`],
    ['uppercase', `00-${TRACE.toUpperCase()}-${SPAN}-01`],
    ['uppercase span id', `00-${TRACE}-${SPAN.toUpperCase()}-01`],
    ['trace id of zeros', `00-${'0'.repeat(32)}-${SPAN}-01`],
    ['span id of zeros', `00-${TRACE}-${'0'.repeat(16)}-01`],
    ['version ff', `ff-${TRACE}-${SPAN}-01`],
    ['no hexadecimal digit', `00-${'g'.repeat(32)}-${SPAN}-01`],
    ['no hexadecimal flags', `00-${TRACE}-${SPAN}-0x`],
    ['another separator', VALID.replaceAll('-', '_')],
    ['space around it', ` ${VALID} `],
    ['two of them', `${VALID},${VALID}`],
    ['a line break', `${VALID}\r\nx: y`],
    ['10 kB', VALID + '-'.repeat(10_000)],
    ['a number', 42],
    ['null', null],
    ['bytes', Buffer.from(VALID)],
    ['an array', [VALID]],
    ['an object', { toString: () => VALID }],
  ])('%s', (_, traceparent) => {
    expect(readTraceContext({ traceparent })).toBeUndefined()
  })
})

test('a later version with more fields is read as far as it is known', () => {
  expect(readTraceContext({ traceparent: `cc-${TRACE}-${SPAN}-01-what-the-future-holds` })).toEqual({
    traceId: TRACE,
    spanId: SPAN,
    sampled: true,
  })
  expect(readTraceContext({ traceparent: `cc-${TRACE}-${SPAN}-01.what` })).toBeUndefined()
})

describe('a malformed tracestate is dropped, and the traceparent stands', () => {
  test.each([
    ['10 kB', `a=${'x'.repeat(10_000)}`],
    ['33 members', Array.from({ length: 33 }, (_, n) => `k${n}=1`).join(',')],
    ['no value', 'a'],
    ['an uppercase key', 'A=1'],
    ['a line break', 'a=1\r\nb: 2'],
    ['no ASCII', 'a=é'],
    ['only commas', ',,,'],
    ['a number', 1],
  ])('%s', (_, tracestate) => {
    expect(readTraceContext({ traceparent: VALID, tracestate })).toEqual({
      traceId: TRACE,
      spanId: SPAN,
      sampled: true,
    })
  })
})

test('a tracestate alone is ignored', () => {
  expect(readTraceContext({ tracestate: 'a=1' })).toBeUndefined()
})
