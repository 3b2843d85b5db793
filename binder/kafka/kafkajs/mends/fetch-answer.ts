/**
 * Reads the answer to a fetch in the place of kafkajs 2.2, which
 *
 * - hands out records of aborted transactions: it takes any key of four zero bytes for an abort marker (Java's Integer 0),
 *   takes the list of aborted transactions to be sorted by first offset, and lets one of them begin per record at most;
 * - gives up the whole answer when one batch of one partition cannot be read (a codec that is not there, say).
 *
 * Records, batches and codecs are still read by the kafkajs that this package resolves; header decoding too.
 */
import { createRequire } from 'node:module'
import { toError } from '../../../../core/errors.ts'
import { type AbortedTransaction, type DecodedRecord, markAborted } from './aborted.ts'

/** kafkajs' reader of bytes, as far as it is used. */
interface Decoder {
  readInt16(): number
  readInt32(): number
  readInt64(): { toString(): string }
  readString(): string
  readBytes(length: number): Buffer
  canReadBytes(length: number): boolean
  readArray<T>(read: (decoder: Decoder) => T): T[]
}

interface Kafkajs {
  readonly Decoder: new (buffer: Buffer) => Decoder
  readonly readBatch: (decoder: Decoder) => Promise<{ readonly records: readonly DecodedRecord[] }>
  readonly readMessageSet: (decoder: Decoder, size: number) => Promise<DecodedRecord[]>
}

/** A batch that cannot be read, and everything behind it in its partition with it. */
export interface Unreadable {
  /** Where it begins. */
  readonly offset: number
  readonly error: Error
}

/** What kafkajs expects of a partition, and `unreadable`. */
export interface PartitionAnswer {
  readonly partition: number
  readonly errorCode: number
  readonly highWatermark: string
  readonly lastStableOffset: string
  readonly abortedTransactions: readonly AbortedTransaction[]
  readonly messages: readonly DecodedRecord[]
  readonly preferredReadReplica?: number | undefined
  readonly unreadable?: Unreadable | undefined
}

export interface FetchAnswer {
  readonly throttleTime: number
  readonly clientSideThrottleTime?: number | undefined
  readonly errorCode?: number | undefined
  readonly sessionId?: number | undefined
  readonly responses: ReadonlyArray<{ readonly topicName: string; readonly partitions: readonly PartitionAnswer[] }>
}

/** The versions that it reads: kafkajs asks in none beyond, and brokers since 0.11 (2017) answer in one of them. */
export const FETCH_VERSIONS = { min: 4, max: 11 } as const

/** The magic byte lies there in every format. */
const MAGIC_AT = 16
const MAGIC_OF_BATCHES = 2
/** What is left of a batch beyond it may be cut off at the end of an answer. */
const BATCH_OVERHEAD_BYTES = 49

let loaded: Kafkajs | undefined

function kafkajs(): Kafkajs {
  const require = createRequire(import.meta.url)
  loaded ??= {
    Decoder: require('kafkajs/src/protocol/decoder.js') as Kafkajs['Decoder'],
    readBatch: require('kafkajs/src/protocol/recordBatch/v0/decoder.js') as Kafkajs['readBatch'],
    readMessageSet: require('kafkajs/src/protocol/messageSet/decoder.js') as Kafkajs['readMessageSet'],
  }
  return loaded
}

/** @param version of the request, one of `FETCH_VERSIONS` */
export async function decodeFetch(version: number, payload: Buffer): Promise<FetchAnswer> {
  const decoder = new (kafkajs().Decoder)(payload)
  const throttleTime = decoder.readInt32()
  const session = version >= 7 ? { errorCode: decoder.readInt16(), sessionId: decoder.readInt32() } : {}
  const topics = decoder.readInt32()
  const responses: Array<{ topicName: string; partitions: PartitionAnswer[] }> = []
  for (let t = 0; t < topics; t++) {
    const topicName = decoder.readString()
    const count = decoder.readInt32()
    const partitions: PartitionAnswer[] = []
    for (let p = 0; p < count; p++) partitions.push(await readPartition(version, decoder))
    responses.push({ topicName, partitions })
  }
  // From version 8 on the client is to wait, not the broker; kafkajs reports it so.
  const throttle = version >= 8 ? { throttleTime: 0, clientSideThrottleTime: throttleTime } : { throttleTime }
  return { ...throttle, ...session, responses }
}

async function readPartition(version: number, decoder: Decoder): Promise<PartitionAnswer> {
  const partition = decoder.readInt32()
  const errorCode = decoder.readInt16()
  const highWatermark = decoder.readInt64().toString()
  const lastStableOffset = decoder.readInt64().toString()
  if (version >= 5) decoder.readInt64()
  const aborted = decoder.readArray(readAborted)
  const replica = version >= 11 ? { preferredReadReplica: decoder.readInt32() } : {}
  const { messages, unreadable } = await readRecords(decoder)
  markAborted(messages, aborted)
  const known = { partition, errorCode, highWatermark, lastStableOffset, ...replica, messages }
  return { ...known, abortedTransactions: [], ...(unreadable === undefined ? {} : { unreadable }) }
}

function readAborted(decoder: Decoder): AbortedTransaction {
  return { producerId: decoder.readInt64().toString(), firstOffset: decoder.readInt64().toString() }
}

interface Records {
  readonly messages: readonly DecodedRecord[]
  readonly unreadable?: Unreadable | undefined
}

async function readRecords(decoder: Decoder): Promise<Records> {
  const size = decoder.readInt32()
  if (size <= 0 || !decoder.canReadBytes(size)) return { messages: [] }
  const bytes = decoder.readBytes(size)
  const { Decoder, readMessageSet } = kafkajs()
  const reader = new Decoder(bytes)
  if (bytes.length > MAGIC_AT && bytes.readInt8(MAGIC_AT) === MAGIC_OF_BATCHES) return readBatches(reader, bytes)
  try {
    return { messages: await readMessageSet(reader, size) }
  } catch (error) {
    return { messages: [], unreadable: { offset: firstOffsetAt(bytes, 0), error: toError(error) } }
  }
}

async function readBatches(reader: Decoder, bytes: Buffer): Promise<Records> {
  const messages: DecodedRecord[] = []
  while (reader.canReadBytes(BATCH_OVERHEAD_BYTES)) {
    const begin = (reader as unknown as { readonly offset: number }).offset
    try {
      for (const record of (await kafkajs().readBatch(reader)).records) messages.push(record)
    } catch (error) {
      // The last batch of an answer may be cut off.
      if (toError(error).name === 'KafkaJSPartialMessageError') break
      return { messages, unreadable: { offset: firstOffsetAt(bytes, begin), error: toError(error) } }
    }
  }
  return { messages }
}

function firstOffsetAt(bytes: Buffer, begin: number): number {
  return bytes.length >= begin + 8 ? Number(bytes.readBigInt64BE(begin)) : 0
}
