/**
 * Reads the answer to a fetch in the place of kafkajs 2.2, which
 *
 * - hands out records of aborted transactions: it takes any key of four zero bytes for an abort marker (Java's Integer 0),
 *   takes the list of aborted transactions to be sorted by first offset, and lets one of them begin per record at most;
 * - gives up the whole answer when one batch of one partition cannot be read (a codec that is not there, say);
 * - lets a batch become whatever its compression says, and all of an answer at once;
 * - copies all headers that it has read so far for each further one.
 *
 * Batches are read as on every driver (`records/`); sets of messages, from before Kafka 0.11, by kafkajs.
 */
import { createRequire } from 'node:module'
import { toError } from '../../../../core/errors.ts'
import type { IncomingRecord } from '../../driver.ts'
import type { AbortedTransaction } from '../../records/aborted.ts'
import { FORMAT, MAGIC_AT, readInt64 } from '../../records/batch-layout.ts'
import { type FindCodec, type ReadRecords, readBatches } from '../../records/batch-reader.ts'
import { ChunkedBytes } from '../../records/chunked-bytes.ts'
import { requireBounded } from './bound-message-sets.ts'

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
  readonly readMessageSet: (decoder: Decoder, size: number) => Promise<DecodedRecord[]>
}

/** A record as kafkajs has it, as far as it is used. */
export interface DecodedRecord extends IncomingRecord {
  /** kafkajs skips these and counts their offsets as read. */
  readonly isControlRecord?: boolean | undefined
}

/** A batch that cannot be read, and everything behind it in its partition with it. */
export interface Unreadable {
  /** Where it begins. */
  readonly offset: number
  readonly error: Error
}

/** kafkajs' fields of a partition, and additional ones. */
export interface PartitionAnswer {
  readonly partition: number
  readonly errorCode: number
  readonly highWatermark: string
  readonly lastStableOffset: string
  readonly abortedTransactions: readonly never[]
  readonly messages: readonly DecodedRecord[]
  readonly preferredReadReplica?: number | undefined
  readonly unreadable?: Unreadable | undefined
  /** The partitions before it took all the room: its records were not looked at, and will be fetched again. */
  readonly isLeft?: boolean | undefined
}

export interface FetchAnswer {
  readonly throttleTime: number
  readonly clientSideThrottleTime?: number | undefined
  readonly errorCode?: number | undefined
  readonly sessionId?: number | undefined
  readonly responses: ReadonlyArray<{ readonly topicName: string; readonly partitions: readonly PartitionAnswer[] }>
}

export interface Reading {
  /** Memory limit of the answer, one partition's part at a time. */
  readonly answerBytes: number
  /** Memory limit of a partition. */
  readonly roomBytes: number
  readonly maxBatchBytes: number
  readonly findCodec: FindCodec
  /** Which partition is read first: each has its turn where there is not room for all. */
  readonly turn: number
  /** Where the fetch began. */
  readonly startOf: (topic: string, partition: number) => number
}

/** The versions that it reads: kafkajs asks in none beyond, and brokers since 0.11 (2017) answer in one of them. */
export const FETCH_VERSIONS = { min: 4, max: 11 } as const

let loaded: Kafkajs | undefined

function kafkajs(): Kafkajs {
  const require = createRequire(import.meta.url)
  loaded ??= {
    Decoder: require('kafkajs/src/protocol/decoder.js') as Kafkajs['Decoder'],
    readMessageSet: require('kafkajs/src/protocol/messageSet/decoder.js') as Kafkajs['readMessageSet'],
  }
  return loaded
}

/** @param version of the request, one of `FETCH_VERSIONS` */
export async function decodeFetch(version: number, payload: Buffer, reading: Reading): Promise<FetchAnswer> {
  const decoder = new (kafkajs().Decoder)(payload)
  const throttleTime = decoder.readInt32()
  const session = version >= 7 ? { errorCode: decoder.readInt16(), sessionId: decoder.readInt32() } : {}
  const topics = decoder.readArray((from) => ({
    topicName: from.readString(),
    parts: from.readArray((each) => readPart(version, each)),
  }))
  const all = topics.flatMap(({ topicName, parts }) => parts.map((part) => ({ topicName, part })))
  const turn = all.length === 0 ? 0 : reading.turn % all.length
  const answers = new Map<Part, PartitionAnswer>()
  let held = 0
  for (const { topicName, part } of [...all.slice(turn), ...all.slice(0, turn)]) {
    const isLeft = held >= reading.answerBytes && part.records.length > 0
    const read = isLeft ? NOTHING : await readRecords(part, reading.startOf(topicName, part.known.partition), reading)
    held += read.heldBytes
    const { messages, unreadable } = read
    answers.set(part, {
      ...part.known,
      abortedTransactions: [],
      messages,
      ...(unreadable === undefined ? {} : { unreadable }),
      ...(isLeft ? { isLeft } : {}),
    })
  }
  const responses = topics.map(({ topicName, parts }) => ({
    topicName,
    partitions: parts.map((part) => answers.get(part) as PartitionAnswer),
  }))
  // From version 8 on the client is to wait, not the broker; kafkajs reports it so.
  const throttle = version >= 8 ? { throttleTime: 0, clientSideThrottleTime: throttleTime } : { throttleTime }
  return { ...throttle, ...session, responses }
}

/** A partition's part, with its records undecoded. */
interface Part {
  readonly known: Omit<PartitionAnswer, 'abortedTransactions' | 'messages' | 'unreadable'>
  readonly aborted: readonly AbortedTransaction[]
  readonly records: Buffer
}

function readPart(version: number, decoder: Decoder): Part {
  const partition = decoder.readInt32()
  const errorCode = decoder.readInt16()
  const highWatermark = decoder.readInt64().toString()
  const lastStableOffset = decoder.readInt64().toString()
  if (version >= 5) decoder.readInt64()
  const aborted = decoder.readArray(readAborted)
  const replica = version >= 11 ? { preferredReadReplica: decoder.readInt32() } : {}
  const size = decoder.readInt32()
  const records = size <= 0 || !decoder.canReadBytes(size) ? EMPTY : decoder.readBytes(size)
  return { known: { partition, errorCode, highWatermark, lastStableOffset, ...replica }, aborted, records }
}

function readAborted(decoder: Decoder): AbortedTransaction {
  return { producerId: Number(decoder.readInt64().toString()), firstOffset: Number(decoder.readInt64().toString()) }
}

interface Records {
  readonly messages: readonly DecodedRecord[]
  readonly heldBytes: number
  readonly unreadable?: Unreadable | undefined
}

const EMPTY = Buffer.alloc(0)
const NOTHING: Records = { messages: [], heldBytes: 0 }

async function readRecords({ records, aborted }: Part, from: number, reading: Reading): Promise<Records> {
  if (records.length === 0) return NOTHING
  if (records.length <= MAGIC_AT || records.readInt8(MAGIC_AT) !== FORMAT) return readMessageSet(records, reading)
  return asKafkajs(await readBatches(ChunkedBytes.of(records), from, aborted, reading, reading.findCodec), from)
}

/** Skipped records at the end become a control record for kafkajs, so that it continues after them. */
function asKafkajs({ messages: read, next, heldBytes, unreadable }: ReadRecords, from: number): Records {
  const last = next - 1
  const messages: DecodedRecord[] = [...read]
  if (next > from && Number(messages.at(-1)?.offset ?? -1) !== last)
    messages.push({ offset: last, timestamp: 0, key: null, value: null, headers: {}, isControlRecord: true })
  return { messages, heldBytes, unreadable }
}

async function readMessageSet(bytes: Buffer, { maxBatchBytes, findCodec }: Reading): Promise<Records> {
  const { Decoder, readMessageSet: read } = kafkajs()
  try {
    await requireBounded(bytes, maxBatchBytes, findCodec)
    return { messages: await read(new Decoder(bytes), bytes.length), heldBytes: bytes.length }
  } catch (error) {
    const offset = bytes.length >= 8 ? readInt64(bytes, 0) : 0
    return { messages: [], heldBytes: 0, unreadable: { offset, error: toError(error) } }
  }
}
