import { type Clock, MINUTE, silentLogger, systemClock } from 'concordat/core'
import type { Receiver } from 'concordat/extension'
import {
  assignRoundRobin,
  ByteReader,
  ByteWriter,
  ChunkedBytes,
  type Cluster,
  ConnectionLost,
  type Envelope,
  GroupMember,
  KafkaRefusal,
  writeBatch,
} from '../inside.ts'
import { ScriptedGroup } from '../scripted-group.ts'

const KEYS = { fetch: 1, commit: 8, positions: 9, join: 11, heartbeat: 12, leave: 13, sync: 14 } as const

interface Request<T> {
  readonly apiKey: number
  write(to: ByteWriter): void
  read(from: ByteReader): T
}

const ENVELOPE: Envelope = {
  topic: 't',
  key: null,
  value: Buffer.from('x'),
  headers: {},
  bytes: 100,
  index: 0,
  place: 0,
}

/** Batches of one, two and three records. */
export function makeBatches(): Promise<Buffer[]> {
  const head = { time: 1, identity: { id: -1, epoch: -1 }, sequence: -1, compression: 'none' } as const
  return Promise.all(
    [1, 2, 3].map((count) =>
      writeBatch(
        Array.from({ length: count }, () => ENVELOPE),
        head,
      ),
    ),
  )
}

/** A scripted group below our own member on the protocol: requests are read, and answers written, as they are on the wire. */
export class ScriptedCluster {
  readonly group: ScriptedGroup
  readonly #batches: readonly Buffer[]

  constructor(ends: readonly number[], batches: readonly Buffer[]) {
    this.group = new ScriptedGroup(
      ends,
      (why) => new KafkaRefusal(why, 'as the script says'),
      () => new ConnectionLost('a request', 'broker:9092', new Error('as the script says')),
    )
    this.#batches = batches
  }

  get cluster(): Cluster {
    const partitions = this.group.ends.map((_, partition) => ({ partition, leader: 1 }))
    const cluster = {
      freshTopic: () => Promise.resolve({ name: 't', errorCode: 0, isInternal: false, partitions }),
      call: <T>(_leader: number, request: Request<T>) => this.group.ask(() => this.#answer(request), 'leader'),
      callCoordinator: <T>(_groupId: string, request: Request<T>) => this.#askCoordinator(request),
      forgetCoordinator: () => {},
      close: () => {},
    }
    return cluster as unknown as Cluster
  }

  #askCoordinator<T>(request: Request<T>): Promise<T> {
    const answer = (): T => this.#answer(request)
    if (request.apiKey === KEYS.join) return this.group.askJoin(answer)
    return request.apiKey === KEYS.sync ? this.group.askShare(answer) : this.group.ask(answer)
  }

  #answer<T>(request: Request<T>): T {
    const asked = new ByteWriter()
    request.write(asked)
    const to = new ByteWriter()
    this.#write(request.apiKey, new ByteReader(ChunkedBytes.of(asked.bytes)), to.int32(0))
    return request.read(new ByteReader(ChunkedBytes.of(to.bytes)))
  }

  #write(key: number, from: ByteReader, to: ByteWriter): void {
    switch (key) {
      case KEYS.join:
        return this.#join(from, to)
      case KEYS.sync: {
        const share = this.group.sync(placeIn(from))
        const [mine] = assignRoundRobin([{ memberId: 'm' }], ['t'], () => [...share])
        to.int16(0).bytesField(mine?.memberAssignment ?? Buffer.alloc(0))
        return
      }
      case KEYS.heartbeat:
        this.group.heartbeat(placeIn(from))
        to.int16(0)
        return
      case KEYS.leave:
        this.group.expel()
        to.int16(0)
        return
      case KEYS.commit:
        return this.#commit(from, to)
      case KEYS.positions:
        return this.#positions(from, to)
      case KEYS.fetch:
        return this.#fetch(from, to)
      default:
        throw new Error(`request ${key} is not in the script`)
    }
  }

  #join(from: ByteReader, to: ByteWriter): void {
    from.string()
    from.int32()
    from.int32()
    const { memberId, generation } = this.group.join(from.string())
    to.int16(0).int32(generation).string('RoundRobinAssigner').string('another').string(memberId)
    to.array([], () => {})
  }

  #commit(from: ByteReader, to: ByteWriter): void {
    const place = placeIn(from)
    from.nullableString()
    const positions = partitionsIn(from, () => {
      const entry = [from.int32(), from.int64()] as const
      from.int32()
      from.nullableString()
      return entry
    })
    this.group.commit(place, new Map(positions))
    to.array(['t'], (topic) => to.string(topic).array(positions, ([partition]) => to.int32(partition).int16(0)))
  }

  #positions(from: ByteReader, to: ByteWriter): void {
    from.string()
    const asked = partitionsIn(from, () => from.int32())
    to.array(['t'], (topic) => {
      to.string(topic).array(asked, (partition) => {
        to.int32(partition)
          .int64(this.group.committed[partition] ?? 0)
          .int32(-1)
          .string('')
          .int16(0)
      })
    }).int16(0)
  }

  #fetch(from: ByteReader, to: ByteWriter): void {
    // Replica, wait, least and most bytes, isolation, session and its epoch.
    from.take(4 + 4 + 4 + 4 + 1 + 4 + 4)
    const asked = partitionsIn(from, () => {
      const partition = from.int32()
      from.int32()
      const offset = from.int64()
      from.take(8 + 4)
      return { partition, offset }
    })
    to.int16(0)
      .int32(0)
      .array(['t'], (topic) => {
        to.string(topic).array(asked, ({ partition, offset }) => {
          const end = this.group.ends[partition] ?? 0
          to.int32(partition)
            .int16(0)
            .int64(end)
            .int64(end)
            .int64(0)
            .array([], () => {})
          to.bytesField(this.#records(partition, offset))
        })
      })
  }

  #records(partition: number, from: number): Buffer {
    const { length } = this.group.offsetsFrom(partition, from)
    if (length === 0) return Buffer.alloc(0)
    const batch = Buffer.from(this.#batches[length - 1] as Buffer)
    batch.writeInt32BE(from, 4)
    return batch
  }
}

/** Group, generation and member, as several requests begin. */
function placeIn(from: ByteReader) {
  from.string()
  const generation = from.int32()
  return { generation, memberId: from.string() }
}

/** Reads the partitions of the one topic. */
function partitionsIn<T>(from: ByteReader, read: () => T): readonly T[] {
  return from
    .array(() => {
      from.string()
      return from.array(read)
    })
    .flat()
}

/** A member on such a cluster. Its group waits for as long as the test takes. */
export function memberOf(
  { group, cluster }: Pick<ScriptedCluster, 'group' | 'cluster'>,
  prefetch: number,
  receiver: Receiver,
  clock: Clock = systemClock,
): GroupMember {
  const settings = {
    sessionTimeoutMs: 20 * MINUTE,
    heartbeatIntervalMs: 50,
    rebalanceTimeoutMs: 20 * MINUTE,
    connectTimeoutMs: MINUTE,
    requestTimeoutMs: 20 * MINUTE,
    commitIntervalMs: 200,
    maxWaitMs: 10,
    maxBatchBytes: 1_000_000,
  }
  const partitions = group.ends.length
  const spec = { topic: 't', groupId: 'g.t', partitions, prefetch, prefetchBytes: 1_000_000, startAt: undefined }
  const ends = { onAnswer: () => {}, onEnd: () => Promise.resolve() }
  return new GroupMember(spec, { settings, cluster, clock, logger: silentLogger, ...ends }, receiver)
}
