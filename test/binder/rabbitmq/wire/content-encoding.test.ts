import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { type Channel, decodePayload, defineChannel } from 'concordat/binder'
import { bytesCodec, type Codec, jsonCodec, textCodec } from 'concordat/core'
import { describe, it } from 'vitest'
import { z } from 'zod'
// oxlint-disable-next-line no-restricted-imports -- pure inside of the adapter; through a broker: foreign.int.test.ts
import { fromAmqp, toAmqp } from '../../../../binder/rabbitmq/wire/envelope.ts'

const BODY = Buffer.from('{"n":1}')
const MAX_BYTES = 1_000

type Properties = Parameters<typeof fromAmqp>[0]['properties']

function read(content: Buffer, properties: Properties) {
  return fromAmqp({ content, fields: { deliveryTag: 1, redelivered: false }, properties }, 'd', 0, MAX_BYTES)
}

const channelOf = (codec: Codec<unknown>): Channel<unknown> => defineChannel('d', { payload: z.unknown(), codec })
const CODECS = { json: jsonCodec, text: textCodec, bytes: bytesCodec } as Readonly<Record<string, Codec<unknown>>>

describe('a body that another AMQP client compressed', () => {
  it.for([
    ['gzip', gzipSync(BODY), { contentEncoding: 'gzip' }, undefined],
    ['GZIP with a charset', gzipSync(BODY), { contentEncoding: 'GZIP:UTF-8' }, 'UTF-8'],
    ['a charset behind a comma', gzipSync(BODY), { contentEncoding: 'gzip, UTF-8' }, 'UTF-8'],
    ['deflate', deflateSync(BODY), { contentEncoding: 'deflate' }, undefined],
    ['br', brotliCompressSync(BODY), { contentEncoding: 'br' }, undefined],
    ['zstd', zstdCompressSync(BODY), { contentEncoding: 'zstd' }, undefined],
    [
      "kombu's compression",
      deflateSync(BODY),
      { contentEncoding: 'utf-8', headers: { compression: 'application/x-gzip', task: 't' } },
      'utf-8',
    ],
  ] as const)(
    'arrives decompressed and is passed on decompressed: %s',
    ([, content, properties, encoding], { expect }) => {
      const message = read(content, properties)
      expect(Buffer.from(message.body ?? []).toString()).toBe(BODY.toString())
      expect(message).not.toHaveProperty('unreadable')
      expect(message.headers['amqp-content-encoding']).toBe(encoding)
      expect(message.headers).not.toHaveProperty('compression')
      const { content: again, options } = toAmqp(message, true)
      expect([again.toString(), options.contentEncoding]).toEqual([BODY.toString(), encoding])
    },
  )

  it.for([
    ['zip', BODY, { contentEncoding: 'zip:UTF-8' }, /content_encoding "zip", which is not read/],
    ['two of them', gzipSync(gzipSync(BODY)), { contentEncoding: 'gzip, gzip' }, /"gzip, gzip", which is not read/],
    ['bzip2 of kombu', BODY, { headers: { compression: 'application/x-bz2' } }, /compression "application\/x-bz2"/],
    [
      'what is no gzip',
      BODY,
      { contentEncoding: 'gzip' },
      /"gzip" and cannot be decompressed \(incorrect header check\)/,
    ],
    [
      'a bomb',
      gzipSync(Buffer.alloc(1_001)),
      { contentEncoding: 'gzip' },
      /more than 1000 bytes .* raise maxMessageBytes/,
    ],
    ['a bomb of zstd', zstdCompressSync(Buffer.alloc(1e6)), { contentEncoding: 'zstd' }, /more than 1000 bytes/],
    ['a bomb of brotli', brotliCompressSync(Buffer.alloc(1e6)), { contentEncoding: 'br' }, /more than 1000 bytes/],
    [
      "a batch of Spring's",
      BODY,
      { headers: { springBatchFormat: 'lengthHeader4' } },
      /producer\.batching-enabled to false/,
    ],
    [
      'a compressed batch',
      gzipSync(BODY),
      { contentEncoding: 'gzip', headers: { springBatchFormat: 'lengthHeader4' } },
      /springBatchFormat "lengthHeader4"/,
    ],
  ] as const)('is refused by name with every codec: %s', ([, content, properties, why], { expect }) => {
    const message = read(content, properties)
    for (const [name, codec] of Object.entries(CODECS)) {
      const decode = () => decodePayload(channelOf(codec), message)
      expect(decode, name).toThrow(expect.objectContaining({ code: 'core.codec', retryable: false }))
      expect(decode, name).toThrow(why)
    }
  })

  it('is passed on unchanged when it cannot be read', ({ expect }) => {
    const { content, options } = toAmqp(read(BODY, { contentEncoding: 'bzip2', headers: { a: 1 } }), true)
    expect([content.toString(), options.contentEncoding]).toEqual([BODY.toString(), 'bzip2'])
    expect(read(content, options).unreadable).toMatch(/bzip2/)
  })

  it.for([
    ['a charset', { contentEncoding: 'utf-8' }],
    ['identity', { contentEncoding: 'identity' }],
    ['an encoding that is no compression', { contentEncoding: 'base64' }],
    ["a sender's own header", { headers: { compression: 'high' } }],
    ['an empty body', { contentEncoding: 'gzip' }],
  ] as const)('leaves alone %s', ([name, properties], { expect }) => {
    const message = read(name === 'an empty body' ? Buffer.alloc(0) : BODY, properties)
    expect(message).not.toHaveProperty('unreadable')
    expect(message.body?.byteLength).toBe(name === 'an empty body' ? 0 : BODY.byteLength)
    expect(toAmqp(message, true).options).toMatchObject(properties)
  })
})
