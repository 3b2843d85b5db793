import { createRequire } from 'node:module'
import fc from 'fast-check'
import { Kafka } from 'kafkajs'
import { describe, it } from 'vitest'
import { FakeClock } from '../../fake-clock.ts'
import { ByteReader, ChunkedBytes, CODECS, interceptClusters, type ProduceArgs, writeBatchesOf } from '../../inside.ts'
import { envelopes, plain } from '../../records/envelopes.ts'

const require = createRequire(import.meta.url)

interface Encoder {
  readonly buffer: Buffer
}
type Lookup = (
  apiKey: number,
  definition: unknown,
) => (args: ProduceArgs & { readonly compression: number }) => {
  readonly request: { readonly apiVersion: number; readonly encode: () => Promise<Encoder> }
}

const { requests, lookup } = require('kafkajs/src/protocol/requests/index.js') as {
  readonly requests: { readonly Produce: unknown }
  readonly lookup: (versions: Readonly<Record<number, { readonly maxVersion: number }>>) => Lookup
}
const TheirDecoder = require('kafkajs/src/protocol/decoder.js') as new (bytes: Buffer) => object
const TheirEncoder = require('kafkajs/src/protocol/encoder.js') as new () => Encoder
const readBatch = require('kafkajs/src/protocol/recordBatch/v0/decoder.js') as (decoder: object) => Promise<{
  readonly [name: string]: unknown
  readonly records: ReadonlyArray<{ readonly key: unknown; readonly value: unknown; readonly headers: object }>
}>

/** Fields of a batch header, without times. */
const HEAD = [
  'firstOffset',
  'lastOffsetDelta',
  'producerId',
  'producerEpoch',
  'firstSequence',
  'inTransaction',
  'isControlBatch',
]
const PRODUCE = 0
const NONE = 0
const GZIP = 1

const written = fc.record({
  acks: fc.constant(-1),
  timeout: fc.nat(60_000),
  producerId: fc.oneof(fc.constant('-1'), fc.maxSafeNat().map(String)),
  producerEpoch: fc.nat(32_767),
  topicData: fc.array(
    fc.record({
      topic: fc.string({ maxLength: 40 }),
      partitions: fc.array(
        fc.record({ partition: fc.nat(100), firstSequence: fc.nat(2 ** 31 - 1), messages: envelopes }),
        { maxLength: 3 },
      ),
    }),
    { maxLength: 3 },
  ),
})

/** Encodes the produce request twice: with kafkajs, and with kafkajs and our writer. */
async function requestsOf(version: number, compression: 'none' | 'gzip'): Promise<{ theirs: Lookup; ours: Lookup }> {
  const theirs = lookup({ [PRODUCE]: { maxVersion: version } })
  const broker = { lookupRequest: theirs }
  const cluster = { findBroker: () => Promise.resolve(broker) }
  writeBatchesOf(cluster, { clock: new FakeClock(), compression, findCodec: (type) => CODECS[type] })
  // Each is changed once, however often it is found.
  await cluster.findBroker()
  return { theirs, ours: (await cluster.findBroker()).lookupRequest }
}

/** Reads everything that the request sends to the broker, without times. */
async function read(bytes: Buffer): Promise<unknown> {
  const from = new ByteReader(ChunkedBytes.of(bytes))
  const [transaction, acks, timeout] = [from.nullableString(), from.int16(), from.int32()]
  const topics = from.array(() => ({
    topic: from.string(),
    partitions: from.array(() => ({ partition: from.int32(), batch: from.bytesField() })),
  }))
  const batches = topics.flatMap(({ topic, partitions }) => partitions.map((each) => ({ topic, ...each })))
  return {
    transaction,
    acks,
    timeout,
    topics: topics.map(({ topic, partitions }) => [topic, partitions.length]),
    batches: await Promise.all(
      batches.map(async ({ topic, partition, batch }) => {
        const { records, ...head } = await readBatch(new TheirDecoder(batch))
        const told = HEAD.map((name) => String(head[name]))
        return { topic, partition, head: told, records: records.map(plain) }
      }),
    ),
  }
}

describe('the batch writer of a kafkajs producer', () => {
  it.for([
    [3, 'none', NONE],
    [7, 'none', NONE],
    [7, 'gzip', GZIP],
  ] as const)(
    'writes the same as kafkajs without this package (version %i, %s)',
    async ([version, name, type], { expect }) => {
      const { theirs, ours } = await requestsOf(version, name)
      await fc.assert(
        fc.asyncProperty(written, async (request) => {
          const args = { ...request, compression: type }
          const { request: own } = ours(PRODUCE, requests.Produce)(args)
          const encoder = await own.encode()
          expect(own.apiVersion).toBe(version)
          // kafkajs takes no other.
          expect(encoder).toBeInstanceOf(TheirEncoder)
          const { request: usual } = theirs(PRODUCE, requests.Produce)(args)
          expect(await read(encoder.buffer)).toEqual(await read((await usual.encode()).buffer))
        }),
        { numRuns: 40 },
      )
    },
  )

  it('reaches the connections of a producer of kafkajs, and of that one alone', ({ expect }) => {
    const kafka = new Kafka({ brokers: ['127.0.0.1:9'] })
    const seen: object[] = []
    const make = (): unknown => kafka.producer({ createPartitioner: () => () => 0 })
    interceptClusters(kafka as never, (cluster) => seen.push(cluster), make)
    make()
    expect(seen.map((cluster) => typeof (cluster as { findBroker?: unknown }).findBroker)).toEqual(['function'])
  })

  it('is of kafkajs for a broker before 0.11, and under a producer id that is no exact number', async ({ expect }) => {
    const args = { acks: -1, timeout: 1, compression: NONE, producerEpoch: 0, topicData: [] }
    const old = await requestsOf(2, 'none')
    const encode = old.ours(PRODUCE, requests.Produce)({ ...args, producerId: '1' }).request.encode
    expect((await encode()).buffer.readInt16BE(0)).toBe(-1)
    const { theirs, ours } = await requestsOf(7, 'none')
    const beyond = { ...args, producerId: String(2n ** 60n) }
    const bytes = (await ours(PRODUCE, requests.Produce)(beyond).request.encode()).buffer
    expect(bytes).toEqual((await theirs(PRODUCE, requests.Produce)(beyond).request.encode()).buffer)
  })

  it('is kafkajs’ own where its internals differ', async ({ expect }) => {
    const writing = { clock: new FakeClock(), compression: 'none', findCodec: () => undefined } as const
    expect(() => writeBatchesOf({}, writing)).not.toThrow()
    const cluster = { findBroker: () => Promise.resolve({ nodeId: 1 }) }
    writeBatchesOf(cluster, writing)
    expect(await cluster.findBroker()).toEqual({ nodeId: 1 })
  })
})
