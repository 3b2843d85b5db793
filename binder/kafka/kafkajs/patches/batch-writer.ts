/**
 * Makes one kafkajs producer write its records with `records/batch-writer.ts`. kafkajs makes an encoder for each record and each
 * header, copies what they hold several times, and adds its checksum up byte by byte: that was most of what publishing cost. The
 * bytes are those of the same records; brokers, topics, sequence numbers and retries stay kafkajs'.
 */
import type { Clock } from '../../../../core/clock.ts'
import type { Envelope } from '../../driver.ts'
import type { FindCodec } from '../../records/batch-reader.ts'
import { type BatchHead, writeBatch } from '../../records/batch-writer.ts'
import type { Compression } from '../../wire/compression-codecs.ts'
import { changeRequests, type MakeRequest } from './wrap-requests.ts'

export interface BatchWriting {
  readonly clock: Clock
  readonly compression: Compression
  readonly findCodec: FindCodec
}

/** Arguments as kafkajs passes them. */
export interface ProduceArgs {
  readonly acks: number
  /** Milliseconds. */
  readonly timeout: number
  /** For an idempotent producer; a text or a `Long`. */
  readonly producerId: { toString(): string }
  readonly producerEpoch: number
  readonly transactionalId?: string | null
  readonly topicData: ReadonlyArray<{
    readonly topic: string
    readonly partitions: ReadonlyArray<{
      readonly partition: number
      readonly firstSequence: number
      /** The very objects that were given to `sendBatch`. */
      readonly messages: readonly Envelope[]
    }>
  }>
}

/** kafkajs' writer of bytes, as far as it is used. */
interface Encoder {
  writeInt16(value: number): this
  writeInt32(value: number): this
  /** `null` is one. */
  writeString(value: string | null): this
  writeBuffer(bytes: Buffer): this
}

const PRODUCE_KEY = 0
/** Versions with batches (Kafka 0.11, 2017); they are the same up to the last one that kafkajs uses. */
const VERSIONS = { min: 3, max: 7 } as const
/** Beside the bytes of the batches, for each partition, with its topic. */
const PARTITION_BYTES = 300

/** A kafkajs that looks otherwise inside writes its records itself. */
export function writeBatchesOf(cluster: object, writing: BatchWriting): void {
  changeRequests<ProduceArgs>(cluster, {
    apiKey: PRODUCE_KEY,
    changeFor: () => (make) => (args) => {
      const usual = make(args)
      const { apiVersion } = usual.request
      const id = Number(String(args.producerId))
      if (apiVersion < VERSIONS.min || apiVersion > VERSIONS.max || !Number.isSafeInteger(id)) return usual
      const identity = { id, epoch: args.producerEpoch }
      const encode = (): Promise<Encoder> => encoded(make, args, identity, writing)
      return { ...usual, request: { ...usual.request, encode } }
    },
    onUnknown: () => {},
  })
}

async function encoded(
  make: MakeRequest<ProduceArgs>,
  args: ProduceArgs,
  identity: BatchHead['identity'],
  { clock, compression, findCodec }: BatchWriting,
): Promise<Encoder> {
  const time = clock.now()
  const partitions = args.topicData.flatMap((each) => each.partitions)
  const batches = await Promise.all(
    partitions.map(({ messages, firstSequence: sequence }) =>
      writeBatch(messages, { time, identity, sequence, compression, findCodec }),
    ),
  )
  const bytes = batches.reduce((sum, { length }) => sum + length, batches.length * PARTITION_BYTES)
  const to = new (await encoderOf(make, args))(bytes)
  to.writeString(args.transactionalId ?? null)
    .writeInt16(args.acks)
    .writeInt32(args.timeout)
  to.writeInt32(args.topicData.length)
  let next = 0
  for (const { topic, partitions } of args.topicData) {
    to.writeString(topic).writeInt32(partitions.length)
    for (const { partition } of partitions) {
      const batch = batches[next++] as Buffer
      to.writeInt32(partition).writeInt32(batch.length).writeBuffer(batch)
    }
  }
  return to
}

/** Encoder of the client's copy of kafkajs, which accepts no other: a program may have several copies. */
async function encoderOf(make: MakeRequest<ProduceArgs>, args: ProduceArgs): Promise<new (bytes: number) => Encoder> {
  const empty = (await make({ ...args, topicData: [] }).request.encode()) as Encoder
  return empty.constructor as new (
    bytes: number,
  ) => Encoder
}
