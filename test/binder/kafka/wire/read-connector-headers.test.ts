import type { EncodedMessage } from 'concordat/binder'
import fc from 'fast-check'
import { describe, it } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- pure: what the outbox writes
import { headersToJson } from '../../../../binder/channel/json-header.ts'
import { decodeRecord, encodeRecord, type IncomingRecord } from '../inside.ts'
import { plainMessage } from '../kit.ts'

/** Record that the outbox event router makes of a row, with the headers that it adds itself. */
function routed(message: EncodedMessage): IncomingRecord {
  const { key, value } = encodeRecord(message)
  const json = headersToJson(message.headers)
  return {
    key: key === null ? null : Buffer.from(key),
    value,
    timestamp: '1800000000000',
    offset: '42',
    headers: {
      id: Buffer.from(message.id),
      ce_id: Buffer.from(message.id),
      ce_type: Buffer.from(message.type),
      ce_source: Buffer.from(message.source),
      'content-type': Buffer.from(message.contentType),
      'concordat-time': Buffer.from(String(message.time)),
      'concordat-headers': json === null ? undefined : Buffer.from(json),
      '__debezium.context.connectorName': Buffer.from('postgresql'),
    },
  }
}

const decoded = (headers: NonNullable<IncomingRecord['headers']>): EncodedMessage =>
  decodeRecord('orders', 0, { key: null, value: null, timestamp: '7', offset: '1', headers })

describe('a record that a connector made of an outbox row', () => {
  it('is the message that a relay would have sent, with any headers', ({ expect }) => {
    const name = fc.constantFrom('tenant', 'traceparent', 'saga-command', 'id', 'content-type', '__proto__', 'größe')
    const value = fc.oneof(fc.string(), fc.integer(), fc.constant(-0), fc.boolean(), fc.constant(null), fc.uint8Array())
    fc.assert(
      fc.property(fc.array(fc.tuple(name, value)), (pairs) => {
        const message = plainMessage({ headers: Object.fromEntries(pairs) })
        expect(decodeRecord(message.destination, 0, routed(message))).toEqual(message)
      }),
    )
  })

  it('keeps the headers that a connector added for the company', ({ expect }) => {
    const { headers } = decoded({ 'concordat-headers': Buffer.from('{"tenant":"acme"}'), region: Buffer.from('eu') })
    expect(headers).toEqual({ tenant: 'acme', region: 'eu' })
  })

  it.for(['no json', '[]', '{"a":{"b":1}}', '"text"'])(
    'has the headers of the record when the column is %s',
    (text, { expect }) => {
      const { headers } = decoded({ 'concordat-headers': Buffer.from(text), region: Buffer.from('eu') })
      expect(headers).toEqual({ region: 'eu' })
    },
  )

  it.for(['', 'soon', '99999999999999999999', '9999999999999999'])(
    'has the time of the record when its own is "%s"',
    (text, { expect }) => {
      expect(decoded({ 'concordat-time': Buffer.from(text) }).time).toBe(7)
    },
  )
})
