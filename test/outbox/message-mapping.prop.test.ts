import type { EncodedMessage } from 'concordat/binder'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { HeaderValue } from '../support/inside/binder.ts'
import { until } from './support/messages.ts'
import { setupOutbox, useEmbedded } from './support/pglite.ts'

useEmbedded()

const noNul = (text: string): boolean => !text.includes('\0')
const text = fc.string({ unit: 'grapheme', maxLength: 40 }).filter(noNul)
const headerValue: fc.Arbitrary<HeaderValue> = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.boolean(),
  fc.constant(null),
  fc.uint8Array({ maxLength: 20 }),
)
const anyMessage: fc.Arbitrary<EncodedMessage> = fc.record({
  id: fc.uuid(),
  destination: fc.stringMatching(/^[A-Za-z0-9_-]{1,40}$/),
  key: fc.option(text),
  type: text,
  source: text,
  contentType: text,
  time: fc.integer({ min: -8_640_000_000_000_000, max: 8_640_000_000_000_000 }),
  headers: fc.dictionary(fc.string(), headerValue, { maxKeys: 5 }),
  body: fc.option(fc.uint8Array({ maxLength: 300 })),
})

test('a message leaves the outbox as it went in: types of headers, bytes, tombstones', async () => {
  await using t = await setupOutbox()
  await t.relay().start()
  await fc.assert(
    fc.asyncProperty(fc.array(anyMessage, { minLength: 1, maxLength: 20 }), async (messages) => {
      t.publisher.confirmed.length = 0
      await t.sql.transaction((tx) => t.outbox.addEncoded(tx, messages))
      await until(() => t.publisher.confirmed.length === messages.length, 'published')
      const sent = new Map(t.publisher.confirmed.map((message) => [message.id, plain(message)]))
      for (const message of messages) expect(sent.get(message.id)).toStrictEqual(plain(message))
    }),
    { numRuns: 40 },
  )
})

function plain(message: EncodedMessage): unknown {
  const headers = Object.entries(message.headers).map(([name, value]) => [
    name,
    value instanceof Uint8Array ? { bytes: [...value] } : value,
  ])
  return {
    ...message,
    body: message.body === null ? null : [...message.body],
    headers: Object.fromEntries(headers as [string, unknown][]),
  }
}
