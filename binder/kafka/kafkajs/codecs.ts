/**
 * Compression of batches: which codecs there are, and kafkajs told of them. gzip is kafkajs' own, zstd is Node's, snappy
 * and lz4 are small packages without native code, loaded when a batch needs them. What the program has set itself in
 * kafkajs' `CompressionCodecs` stays.
 */
import { createRequire } from 'node:module'
import { promisify } from 'node:util'
import { zstdCompress, zstdDecompress } from 'node:zlib'
import { ConcordatError, toError } from '../../../core/errors.ts'
import { decodeLz4Frame, encodeLz4Frame, type Lz4Blocks } from '../wire/lz4-frame.ts'
import { decodeXerial, encodeXerial, type Snappy } from '../wire/xerial.ts'

/** How batches are compressed on the wire. `snappy` needs the package `snappyjs`, `lz4` needs `lz4js`. */
export type Compression = 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd'

/** The numbers of Kafka's protocol. */
export const COMPRESSION_TYPES: Readonly<Record<Compression, number>> = Object.freeze({
  none: 0,
  gzip: 1,
  snappy: 2,
  lz4: 3,
  zstd: 4,
})

interface KafkajsCodec {
  compress(encoder: { readonly buffer: Buffer }): Promise<Buffer>
  decompress(buffer: Buffer): Promise<Buffer>
}

/** A batch needs a package that is not installed. */
export class CodecMissing extends ConcordatError {
  readonly code = 'binder.kafka.codec_missing' as const
  readonly retryable = true as const
}

const require = createRequire(import.meta.url)
const deflateZstd = promisify(zstdCompress)
const inflateZstd = promisify(zstdDecompress)

const OURS: Readonly<Record<number, KafkajsCodec>> = {
  [COMPRESSION_TYPES.snappy]: {
    compress: async ({ buffer }) => encodeXerial(snappy(), buffer),
    decompress: async (buffer) => decodeXerial(snappy(), buffer),
  },
  [COMPRESSION_TYPES.lz4]: {
    compress: async ({ buffer }) => encodeLz4Frame(lz4(), buffer),
    decompress: async (buffer) => decodeLz4Frame(lz4(), buffer),
  },
  [COMPRESSION_TYPES.zstd]: {
    compress: async ({ buffer }) => deflateZstd(buffer),
    decompress: async (buffer) => inflateZstd(buffer),
  },
}

/** Idempotent. Does nothing where this package resolves no kafkajs. */
export function provideCodecs(): void {
  const codecs = kafkajsCodecs()
  if (codecs === undefined) return
  for (const [type, codec] of Object.entries(OURS)) {
    if (isMissing(codecs[Number(type)])) codecs[Number(type)] = () => codec
  }
}

/** @throws CodecMissing when a package is not there */
export function requireCodec(compression: Compression): void {
  if (compression !== 'snappy' && compression !== 'lz4') return
  provideCodecs()
  const isOurs = kafkajsCodecs()?.[COMPRESSION_TYPES[compression]]?.() === OURS[COMPRESSION_TYPES[compression]]
  if (isOurs) (compression === 'snappy' ? snappy : lz4)()
}

type Codecs = Record<number, (() => unknown) | undefined>

function kafkajsCodecs(): Codecs | undefined {
  try {
    return (require('kafkajs') as { readonly CompressionCodecs: Codecs }).CompressionCodecs
  } catch {
    return undefined
  }
}

/** kafkajs has a place for each, which throws. */
function isMissing(codec: (() => unknown) | undefined): boolean {
  try {
    codec?.()
    return codec === undefined
  } catch (error) {
    return toError(error).name === 'KafkaJSNotImplemented'
  }
}

const snappy = (): Snappy => load<Snappy>('snappy', 'snappyjs')
const lz4 = (): Lz4Blocks => load<Lz4Blocks>('lz4', 'lz4js')

function load<T>(compression: Compression, name: string): T {
  try {
    return require(name) as T
  } catch (cause) {
    throw new CodecMissing(
      `${compression} needs the package ${name}: npm install ${name}, or set CompressionCodecs of kafkajs before the binder starts`,
      { cause },
    )
  }
}
