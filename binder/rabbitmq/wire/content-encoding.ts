/**
 * Bodies that another AMQP client compressed or batched. `content_encoding` (Spring's `compress`, browsers' names) and kombu's
 * header `compression` name the method; bodies that Node can decompress are delivered decompressed, whatever the codec, and stay
 * so. For others, and for Spring's batches, the message has the reason why no codec can read it.
 *
 * @see org.springframework.amqp.support.postprocessor.AbstractCompressingPostProcessor
 * @see https://docs.celeryq.dev/projects/kombu/en/stable/reference/kombu.compression.html
 */
import { brotliDecompressSync, unzipSync, zstdDecompressSync } from 'node:zlib'
import { toError } from '../../../core/errors.ts'
import type { AmqpMessage } from '../link/amqplib-types.ts'

type Decompress = (bytes: Uint8Array, options: { readonly maxOutputLength: number }) => Buffer
type Way = Decompress | 'unsupported'

/** `unzip` reads gzip and zlib, which is the meaning of `deflate`, and of kombu's `x-gzip`. */
const ENCODINGS: ReadonlyMap<string, Way> = new Map<string, Way>([
  ['gzip', unzipSync],
  ['x-gzip', unzipSync],
  ['deflate', unzipSync],
  ['zlib', unzipSync],
  ['br', brotliDecompressSync],
  ['zstd', zstdDecompressSync],
  ...['zip', 'compress', 'bzip2', 'lzma', 'xz', 'lz4', 'snappy'].map((name) => [name, 'unsupported'] as const),
])
const KOMBU: ReadonlyMap<string, Way> = new Map<string, Way>([
  ['application/x-gzip', unzipSync],
  ['application/x-brotli', brotliDecompressSync],
  ['application/zstd', zstdDecompressSync],
  ['application/x-bz2', 'unsupported'],
  ['application/x-lzma', 'unsupported'],
])

/** Header of Spring's batching producer. */
const BATCH_FORMAT = 'springBatchFormat'
const COMPRESSION = 'compression'

export interface Plain {
  readonly message: AmqpMessage
  /** Why no codec can read the body. */
  readonly unreadable?: string
}

/**
 * The message before another client compressed it. Never throws.
 * @param maxBytes maximum size of the body after decompression
 */
export function toPlain(message: AmqpMessage, maxBytes: number): Plain {
  const { contentEncoding, headers } = message.properties
  const compression = headers?.[COMPRESSION]
  const isBatch = headers?.[BATCH_FORMAT] !== undefined
  if (contentEncoding === undefined && compression === undefined && !isBatch) return { message }
  const plain = ofKombu(ofProperty(message, maxBytes), maxBytes)
  return isBatch && plain.unreadable === undefined ? { ...plain, unreadable: batch(headers[BATCH_FORMAT]) } : plain
}

/** Spring writes `gzip:UTF-8` and `gzip, UTF-8`: parts that are not a compression stay. */
function ofProperty(message: AmqpMessage, maxBytes: number): Plain {
  const { contentEncoding, ...properties } = message.properties
  if (typeof contentEncoding !== 'string') return { message }
  const names = contentEncoding.split(/[:,]/).map((name) => name.trim())
  const known = names.filter((name) => ENCODINGS.has(name.toLowerCase()))
  const [name] = known
  if (name === undefined) return { message }
  const way = known.length > 1 ? 'unsupported' : (ENCODINGS.get(name.toLowerCase()) ?? 'unsupported')
  const others = names.filter((each) => each !== name).join(', ')
  const rest = others === '' ? properties : { ...properties, contentEncoding: others }
  return decompressed(message, rest, { way, said: `content_encoding "${known.join(', ')}"`, maxBytes })
}

function ofKombu(plain: Plain, maxBytes: number): Plain {
  const { message } = plain
  const { [COMPRESSION]: compression, ...headers } = message.properties.headers ?? {}
  const way = typeof compression === 'string' ? KOMBU.get(compression) : undefined
  if (way === undefined || plain.unreadable !== undefined) return plain
  const said = `the header compression "${String(compression)}"`
  return decompressed(message, { ...message.properties, headers }, { way, said, maxBytes })
}

interface Compressed {
  readonly way: Way
  /** Which part of the message names it. */
  readonly said: string
  readonly maxBytes: number
}

function decompressed(
  message: AmqpMessage,
  properties: AmqpMessage['properties'],
  { way, said, maxBytes }: Compressed,
): Plain {
  if (message.content.byteLength === 0) return { message }
  const remedy = 'have the sender send it uncompressed, or with gzip or deflate'
  if (way === 'unsupported') return { message, unreadable: `has ${said}, which is not read: ${remedy}` }
  try {
    return { message: { ...message, content: way(message.content, { maxOutputLength: maxBytes }), properties } }
  } catch (error) {
    const isLarge = error instanceof RangeError && 'code' in error && error.code === 'ERR_BUFFER_TOO_LARGE'
    const why = isLarge
      ? `is more than ${maxBytes} bytes without it: raise maxMessageBytes of rabbitTransport`
      : `cannot be decompressed (${toError(error).message}): ${remedy}`
    return { message, unreadable: `has ${said} and ${why}` }
  }
}

function batch(format: unknown): string {
  return (
    `is several messages in one, from Spring's batching producer (${BATCH_FORMAT} "${String(format)}"): ` +
    `set spring.cloud.stream.rabbit.bindings.<out>.producer.batching-enabled to false at the sender`
  )
}
