/** Valid messages that the targets begin with. */
import type { EncodedMessage } from 'concordat/binder'

const HEADERS = { tenant: 'north', retries: 3, urgent: true, raw: new Uint8Array([0, 255, 1]), none: null, lowest: -0 }

/** A message with every field, and one with the fewest. */
export const MESSAGES: readonly EncodedMessage[] = [
  {
    id: '0198c0de-0000-7000-8000-000000000001',
    destination: 'orders.placed',
    key: 'o-1',
    type: 'orders.placed',
    source: 'shop',
    contentType: 'application/json',
    time: 1_795_334_400_123,
    headers: HEADERS,
    body: Buffer.from('{"id":"o-1","lines":[{"sku":"a","n":2}]}'),
  },
  {
    id: '1',
    destination: 'orders.placed',
    key: null,
    type: 'x',
    source: 'y',
    contentType: '',
    time: 0,
    headers: {},
    body: null,
  },
]

export const EVENT = {
  specversion: '1.0',
  id: 'e-1',
  source: '/shop',
  type: 'orders.placed',
  time: '2026-11-22T08:10:00+01:00',
  datacontenttype: 'application/json',
  partitionkey: 'o-1',
  subject: 'o-1',
  sequence: 7,
  data: { id: 'o-1', lines: [{ sku: 'a' }] },
}

/** First difference between two messages; `undefined`: they are the same. */
export function difference(one: EncodedMessage, other: EncodedMessage): string | undefined {
  for (const name of ['id', 'key', 'type', 'source', 'contentType', 'time'] as const)
    if (one[name] !== other[name])
      return `${name}: ${String(one[name]).slice(0, 99)} came back as ${String(other[name]).slice(0, 99)}`
  const names = Object.keys(one.headers)
  if (names.length !== Object.keys(other.headers).length)
    return `headers: ${names.join()} came back as ${Object.keys(other.headers).join()}`
  for (const name of names)
    if (!isSame(one.headers[name], other.headers[name])) return `headers.${name} came back as another`
  return isSame(one.body, other.body) ? undefined : 'the body came back as another'
}

function isSame(one: unknown, other: unknown): boolean {
  if (one instanceof Uint8Array && other instanceof Uint8Array) return Buffer.compare(one, other) === 0
  return Object.is(one, other)
}
