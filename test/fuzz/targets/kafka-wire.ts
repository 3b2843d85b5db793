/**
 * Answers of a Kafka broker: batches of records, and every answer that the second driver reads. In pieces, as sockets
 * deliver them.
 */
import { isDeepStrictEqual } from 'node:util'
import { hostileBytes } from '../hostile.ts'
import {
  ByteReader,
  ByteWriter,
  ChunkedBytes,
  commitOffsets,
  crc32c,
  createTopics,
  fetch,
  fetchOffsets,
  findCoordinator,
  heartbeat,
  type IncomingRecord,
  initProducerId,
  joinGroup,
  KafkaRefusal,
  leaveGroup,
  listOffsets,
  metadata,
  produce,
  type Request,
  readBatches,
  recordBytes,
  syncGroup,
  writeBatch,
} from '../inside.ts'
import type { Tape } from '../tape.ts'
import { check, target } from '../target.ts'

const RECORDS = [
  { key: 'o-1', value: Buffer.from('{"id":"o-1"}'), headers: { ce_id: '1', 'content-type': 'application/json' } },
  { key: null, value: null, headers: {} },
  {
    key: Buffer.from([0, 0, 0, 0]),
    value: Buffer.alloc(300, 'x'),
    headers: { ce_id: '2', raw: Buffer.from([255, 0]) },
  },
].map((record, index) => ({ ...record, topic: 't', bytes: recordBytes(record), index, place: index }))
const HEAD = { time: 1_795_334_400_000, identity: { id: 7, epoch: 1 }, sequence: 3 }
const BATCHES = await Promise.all(
  (['none', 'none', 'gzip', 'lz4', 'zstd'] as const).map((compression) =>
    writeBatch(RECORDS, { ...HEAD, compression }),
  ),
)
/** Offset of the checksum, and of the bytes that it covers. */
const [CRC_AT, COVERED_AT] = [17, 21]
const ROOMY = { roomBytes: 1e9, maxBatchBytes: 1 << 20 }

interface Answer {
  readonly bytes: Buffer
  readonly pieces: ChunkedBytes
}

function inPieces(tape: Tape, bytes: Buffer): Answer {
  const cuts = Array.from({ length: tape.below(5) }, () => tape.below(bytes.length + 1)).toSorted((a, b) => a - b)
  const borders = [0, ...cuts, bytes.length]
  return { bytes, pieces: new ChunkedBytes(borders.slice(1).map((end, i) => bytes.subarray(borders[i], end))) }
}

export const kafkaBatch = target({
  name: 'kafka-batch',
  about: 'batches of records, in whatever pieces they come',
  isAsync: true,
  input(tape) {
    const bytes = Buffer.from(hostileBytes(tape, ...BATCHES))
    // Else the checksum would keep nearly all of it out.
    if (!tape.once(4) && bytes.length > COVERED_AT) bytes.writeUInt32BE(crc32c(bytes.subarray(COVERED_AT)), CRC_AT)
    const roomBytes = tape.once(3) ? tape.below(700) : ROOMY.roomBytes
    return { ...inPieces(tape, bytes), from: tape.pick([0, 1, 9_999]), roomBytes }
  },
  async run({ bytes, pieces, from, roomBytes }) {
    const limits = { ...ROOMY, roomBytes }
    const read = await readBatches(pieces, from, [], limits)
    const whole = await readBatches(ChunkedBytes.of(bytes), from, [], limits)
    check(
      isDeepStrictEqual(read.messages.map(contentOf), whole.messages.map(contentOf)),
      'the same bytes in pieces are read as something else',
    )
    check(read.next === whole.next, 'the next fetch begins elsewhere')
    check(read.unreadable?.error.message === whole.unreadable?.error.message, 'they are refused for something else')
    check(read.next >= from, 'the next fetch begins before this one')
    check(
      read.messages.every(({ offset }) => Number(offset) >= from),
      'a record from before the fetch',
    )
    check(read.messages.length < 2 || read.heldBytes <= roomBytes, 'more was kept than there is room for')
  },
})

/** Records are read when they are asked for. */
function contentOf({ offset, timestamp, bytes, key, value, headers }: IncomingRecord): object {
  return { offset, timestamp, bytes, key, value, headers }
}

const PLACE = { groupId: 'g', memberId: 'm', generation: 3 }
const ASKED: readonly Request<unknown>[] = [
  fetch({ topic: 't', maxWaitMs: 1, maxBytes: 1, maxPartitionBytes: 1, from: new Map([[0, 0]]) }),
  metadata(['t']),
  findCoordinator('g'),
  joinGroup({ ...PLACE, sessionTimeoutMs: 1, rebalanceTimeoutMs: 1, protocol: 'p', subscription: Buffer.alloc(1) }),
  syncGroup(PLACE, []),
  heartbeat(PLACE),
  leaveGroup('g', 'm'),
  commitOffsets(PLACE, 't', new Map([[0, 1]])),
  fetchOffsets('g', 't', [0]),
  listOffsets('t', [0], -1, 0),
  initProducerId(),
  produce([], 1),
  createTopics([], 1),
]

/** A fetch of one partition, and other numbers and texts that fit somewhere. */
const ANSWERS = [
  ((): Buffer => {
    const to = new ByteWriter().int32(0).int16(0).int32(0)
    to.array(['t'], (topic) => {
      to.string(topic).array([0], (partition) => {
        to.int32(partition).int16(0).int64(9).int64(9).int64(0)
        to.array([5], (producer) => void to.int64(producer).int64(0))
        to.bytesField(BATCHES[0] as Buffer)
      })
    })
    return to.bytes
  })(),
  ((): Buffer => {
    const to = new ByteWriter().int32(0)
    to.array([1], (id) => void to.int32(id).string('localhost').int32(9_092).string(null))
    to.string('cluster').int32(1)
    to.array(
      ['t'],
      (topic) =>
        void to
          .int16(0)
          .string(topic)
          .boolean(false)
          .array([], () => {}),
    )
    return to.bytes
  })(),
  Buffer.alloc(200),
  Buffer.alloc(64, 0xff),
]

export const kafkaAnswer = target({
  name: 'kafka-answer',
  about: 'what a broker answers to each request of the second driver, in pieces',
  input: (tape) => ({ ...inPieces(tape, hostileBytes(tape, ...ANSWERS)), request: tape.pick(ASKED) }),
  run({ bytes, pieces, request }) {
    const read = (from: ChunkedBytes): unknown => {
      try {
        return request.read(new ByteReader(from))
      } catch (error) {
        if (!isRefusal(error)) throw error
        return error.message
      }
    }
    const [parts, whole] = [read(pieces), read(ChunkedBytes.of(bytes))]
    check(textOf(parts) === textOf(whole), 'the same bytes in pieces are read as something else')
  },
})

function isRefusal(error: unknown): error is Error {
  return (
    error instanceof KafkaRefusal || (error instanceof RangeError && /bytes at \d+ do not fit into/.test(error.message))
  )
}

function textOf(read: unknown): string {
  return (
    JSON.stringify(read, (_, value) => (value instanceof ChunkedBytes ? value.joined().toString('hex') : value)) ?? ''
  )
}
