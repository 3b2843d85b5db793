/** Adds codecs to kafkajs, which only has gzip. Codecs that the program itself has set in kafkajs' `CompressionCodecs` stay. */
import { constants } from 'node:buffer'
import { createRequire } from 'node:module'
import { toError } from '../../../core/errors.ts'
import {
  CODECS,
  COMPRESSION_TYPES,
  type Codec,
  type Compression,
  LZ4,
  requirePackage,
  SNAPPY,
  ZSTD,
} from '../wire/compression-codecs.ts'

interface KafkajsCodec {
  compress(encoder: { readonly buffer: Buffer }): Promise<Buffer>
  decompress(buffer: Buffer): Promise<Buffer>
}

const require = createRequire(import.meta.url)

const OURS: Readonly<Record<number, KafkajsCodec>> = {
  [COMPRESSION_TYPES.snappy]: kafkajsCodec(SNAPPY),
  [COMPRESSION_TYPES.lz4]: kafkajsCodec(LZ4),
  [COMPRESSION_TYPES.zstd]: kafkajsCodec(ZSTD),
}

function kafkajsCodec(codec: Codec): KafkajsCodec {
  return {
    compress: ({ buffer }) => codec.compress(buffer),
    // Used by other consumers of the program, without a limit; this package's consumers bring their own.
    decompress: (buffer) => codec.decompress(buffer, constants.MAX_LENGTH),
  }
}

/** Idempotent. Does nothing where this package resolves no kafkajs. */
export function provideCodecs(): void {
  const codecs = kafkajsCodecs()
  if (codecs === undefined) return
  for (const [type, codec] of Object.entries(OURS)) {
    if (isMissing(codecs[Number(type)])) codecs[Number(type)] = () => codec
  }
}

/** @throws `binder.kafka.codec_missing` when a package is not installed */
export function requireCodec(compression: Compression): void {
  if (compression !== 'snappy' && compression !== 'lz4') return
  provideCodecs()
  const isOurs = kafkajsCodecs()?.[COMPRESSION_TYPES[compression]]?.() === OURS[COMPRESSION_TYPES[compression]]
  if (isOurs) requirePackage(compression)
}

/** Returns the codec with this number for reading batches: the program's own, whatever it does, else one with a limit. */
export function codecOf(type: number): Codec | undefined {
  const ours = CODECS[type]
  const set = kafkajsCodecs()?.[type]
  if (set === undefined || isMissing(set)) return ours
  const theirs = set() as KafkajsCodec
  if (theirs === OURS[type] || theirs === kafkajsGzip()) return ours
  return {
    compress: (buffer) => theirs.compress({ buffer }),
    decompress: (buffer) => theirs.decompress(buffer),
  }
}

function kafkajsGzip(): unknown {
  try {
    return require('kafkajs/src/protocol/message/compression/gzip.js')
  } catch {
    return undefined
  }
}

type Codecs = Record<number, (() => unknown) | undefined>

function kafkajsCodecs(): Codecs | undefined {
  try {
    return (require('kafkajs') as { readonly CompressionCodecs: Codecs }).CompressionCodecs
  } catch {
    return undefined
  }
}

/** True for the placeholder of kafkajs, which throws. */
function isMissing(codec: (() => unknown) | undefined): boolean {
  try {
    codec?.()
    return codec === undefined
  } catch (error) {
    return toError(error).name === 'KafkaJSNotImplemented'
  }
}
