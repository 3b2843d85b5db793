/**
 * Compression of batches with Node's own functions and two small packages without native code, which are loaded when a batch
 * needs them.
 */

import { createRequire } from 'node:module'
import { promisify } from 'node:util'
import { gunzip, gzip, zstdCompress, zstdDecompress } from 'node:zlib'
import { BinderError } from '../../errors.ts'
import { decodeLz4Frame, encodeLz4Frame, type Lz4Blocks } from './lz4-frame.ts'
import { decodeXerial, encodeXerial, type Snappy } from './xerial.ts'

/** Compression of batches on the wire. `snappy` needs the package `snappyjs`, `lz4` needs `lz4js`. */
export type Compression = 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd'

/** The numbers of Kafka's protocol. */
export const COMPRESSION_TYPES: Readonly<Record<Compression, number>> = Object.freeze({
  none: 0,
  gzip: 1,
  snappy: 2,
  lz4: 3,
  zstd: 4,
})

export interface Codec {
  compress(bytes: Buffer): Promise<Buffer>
  /** @throws `binder.kafka.batch_too_large` before the result exceeds `maxBytes` */
  decompress(bytes: Buffer, maxBytes: number): Promise<Buffer>
}

export const GZIP: Codec = { compress: promisify(gzip), decompress: bounded(promisify(gunzip)) }

export const SNAPPY: Codec = {
  compress: async (bytes) => encodeXerial(snappy(), bytes),
  decompress: async (bytes, maxBytes) => decodeXerial(snappy(), bytes, maxBytes),
}

export const LZ4: Codec = {
  compress: async (bytes) => encodeLz4Frame(lz4(), bytes),
  decompress: async (bytes, maxBytes) => decodeLz4Frame(lz4(), bytes, maxBytes),
}

export const ZSTD: Codec = { compress: promisify(zstdCompress), decompress: bounded(promisify(zstdDecompress)) }

/** Codecs by the numbers of Kafka's protocol. */
export const CODECS: Readonly<Record<number, Codec>> = {
  [COMPRESSION_TYPES.gzip]: GZIP,
  [COMPRESSION_TYPES.snappy]: SNAPPY,
  [COMPRESSION_TYPES.lz4]: LZ4,
  [COMPRESSION_TYPES.zstd]: ZSTD,
}

type Unzip = (bytes: Buffer, options: { readonly maxOutputLength: number }) => Promise<Buffer>

function bounded(unzip: Unzip): Codec['decompress'] {
  return async (bytes, maxBytes) => {
    try {
      return await unzip(bytes, { maxOutputLength: maxBytes })
    } catch (error) {
      if (error instanceof RangeError && 'code' in error && error.code === 'ERR_BUFFER_TOO_LARGE')
        throw new BinderError('binder.kafka.batch_too_large', { maxBytes }, error)
      throw error
    }
  }
}

/** @throws `binder.kafka.codec_missing` when its package is not installed */
export function requirePackage(compression: Compression): void {
  if (compression === 'snappy') snappy()
  if (compression === 'lz4') lz4()
}

const require = createRequire(import.meta.url)
const snappy = (): Snappy => load<Snappy>('snappy', 'snappyjs')
const lz4 = (): Lz4Blocks => load<Lz4Blocks>('lz4', 'lz4js')

function load<T>(compression: Compression, name: string): T {
  try {
    return require(name) as T
  } catch (cause) {
    throw new BinderError(
      'binder.kafka.codec_missing',
      { message: `${compression} needs the package ${name}: npm install ${name}` },
      cause,
    )
  }
}
