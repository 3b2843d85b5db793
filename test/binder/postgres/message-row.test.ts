import { expect, test } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- pure inside of the adapter; through a database: conformance.int.test.ts
import { messageOf, metaOf } from '../../../binder/postgres/message-row.ts'

const row = (headers: string) => ({ key: null, body: null, meta: `["i","t","s","application/json",0,${headers}]` })

test('a row with too deeply nested headers is read without them', () => {
  const deep = `{"a":${'['.repeat(20_000)}${']'.repeat(20_000)},"b":1}`
  expect(messageOf('d', row(deep), '0/1').headers).toEqual({ a: null, b: 1 })
})

test.each([
  ['{"a":1e999}', { a: 'null' }],
  ['{"a":{"$number":"one"}}', { a: '{"$number":"one"}' }],
  ['{"a":{"$number":"-0"}}', { a: -0 }],
])('the headers %s mean the same when the message is written again', (headers, expected) => {
  const read = messageOf('d', row(headers), '0/1')
  expect(read.headers).toEqual(expected)
  expect(messageOf('d', { key: null, body: null, meta: metaOf(read) }, '0/1').headers).toEqual(expected)
})

test('meta is ASCII, for a database that has no other characters, and means the same', () => {
  const message = {
    id: 'n\u00e9 \u2192',
    destination: 'd',
    key: null,
    type: 't \u8a02',
    source: 's \ud83d\ude00',
    contentType: 'text/plain',
    time: 5,
    headers: { '\u8a02': 'no such item \u2192 \ud83d\ude00' },
    body: null,
  }
  for (const each of [message, { ...message, headers: {} }]) {
    const meta = metaOf(each)
    expect(meta).toMatch(/^[\x20-\x7e]*$/)
    expect(messageOf('d', { key: null, body: null, meta }, '0/1')).toEqual(each)
  }
})
