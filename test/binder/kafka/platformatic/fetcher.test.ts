import { systemClock } from 'concordat/core'
import { describe, it, onTestFinished } from 'vitest'
import { until } from '../../../support/until.ts'
import {
  AssignedPartition,
  ByteReader,
  ByteWriter,
  ChunkedBytes,
  type Cluster,
  Fetcher,
  FirstOffsets,
  type IncomingRecord,
  writeBatch,
} from '../inside.ts'
import { range } from '../kit.ts'

const LIST_OFFSETS = 2

interface Asked {
  readonly leader: number
  /** Fetch offsets by partition. */
  readonly from: ReadonlyMap<number, number>
  answer(answers: readonly object[]): void
  fail(error: Error): void
}

interface Request {
  readonly apiKey: number
  write(to: ByteWriter): void
}

/** Reads the fetch offset of each partition from the encoded request. */
function offsetsIn(request: Request): ReadonlyMap<number, number> {
  const writer = new ByteWriter()
  request.write(writer)
  const from = new ByteReader(ChunkedBytes.of(writer.bytes))
  from.take(25)
  const [partitions = []] = from.array(() => {
    from.string()
    return from.array(() => {
      const partition = from.int32()
      from.int32()
      const offset = from.int64()
      from.int64()
      from.int32()
      return [partition, offset] as const
    })
  })
  return new Map(partitions)
}

/** Brokers of one topic that answer on command. */
function cluster(leaders: Map<number, number>) {
  const asked: Asked[] = []
  const brokers = {
    freshTopic: () =>
      Promise.resolve({
        name: 't',
        errorCode: 0,
        isInternal: false,
        partitions: Array.from(leaders, ([partition, leader]) => ({ partition, leader })),
      }),
    call: (leader: number, request: Request) =>
      request.apiKey === LIST_OFFSETS
        ? Promise.resolve(new Map([...leaders.keys()].map((partition) => [partition, 0])))
        : new Promise((answer, fail) => asked.push({ leader, from: offsetsIn(request), answer, fail })),
  }
  return { asked, brokers: brokers as unknown as Cluster }
}

async function answerOf(partition: number, first: number, count: number) {
  const envelopes = range(count, first).map((n) => ({
    topic: 't',
    key: null,
    value: Buffer.from(String(n)),
    headers: {},
    bytes: 100,
    index: 0,
    place: 0,
  }))
  const records = await writeBatch(envelopes, {
    time: 1,
    identity: { id: -1, epoch: -1 },
    sequence: -1,
    compression: 'none',
  })
  records.writeInt32BE(first, 4)
  return {
    partition,
    error: undefined,
    highWatermark: first + count,
    lastStableOffset: first + count,
    aborted: [],
    records: ChunkedBytes.of(records),
  }
}

function setup(leaders: ReadonlyArray<readonly [number, number]>) {
  const led = new Map(leaders)
  const { asked, brokers } = cluster(led)
  const got: IncomingRecord[] = []
  const lost: unknown[] = []
  const doubts = { count: 0, isSame: true }
  const settings = {
    topic: 't',
    window: 100,
    maxWaitMs: 10,
    maxBytes: 1_000,
    maxPartitionBytes: 1_000,
    roomBytes: 100_000,
    maxBatchBytes: 1_000_000,
    requestTimeoutMs: 1_000,
  }
  const fetcher = new Fetcher(brokers, systemClock, settings, {
    onNews: () => {},
    onBatch: (_, batch) => void got.push(...batch.messages),
    onSkipped: () => {},
    onLeader: () => {},
    onOutOfRange: () => {},
    onUnknown: () => void (doubts.count += 1),
    isSame: () => Promise.resolve(doubts.isSame),
    onAnswer: () => {},
    onLost: (error) => void lost.push(error),
  })
  onTestFinished(() => fetcher.stop())
  const begin = (position: number): void =>
    fetcher.start(
      [...led.keys()].map((partition) => new AssignedPartition(partition)),
      new Map([...led.keys()].map((partition) => [partition, position])),
    )
  const offsets = (): number[] => got.map(({ offset }) => Number(offset))
  return { led, asked, fetcher, lost, doubts, begin, offsets }
}

describe('fetching', () => {
  it.for(['later', 'at once', 'that the offset is gone'] as const)(
    'repeats and skips nothing when two leaders answer for a partition, the former one %s',
    async (how, { expect }) => {
      const { led, asked, begin, offsets } = setup([
        [0, 1],
        [1, 2],
      ])
      begin(0)
      await until('both leaders are asked', () => asked.length === 2)
      const [old, other] = [asked.find(({ leader }) => leader === 1), asked.find(({ leader }) => leader === 2)]
      // The second has lost its partition, and the lookup of its leader finds that the first has lost one, too.
      led.set(0, 3).set(1, 3)
      other?.answer([{ ...(await answerOf(1, 0, 0)), error: 'NOT_LEADER_FOR_PARTITION' }])
      await until('the new one is asked', () => asked.some(({ leader }) => leader === 3))
      const now = asked.find(({ leader }) => leader === 3)
      expect(now?.from).toEqual(
        new Map([
          [0, 0],
          [1, 0],
        ]),
      )
      const [whole, part] = [await answerOf(0, 0, 5), await answerOf(0, 0, 3)]
      now?.answer([whole])
      if (how === 'at once') old?.answer([part])
      await until('it came', () => offsets().length === 5)
      if (how !== 'at once') old?.answer([how === 'later' ? part : { ...part, error: 'OFFSET_OUT_OF_RANGE' }])
      await until('it is asked further', () => asked.some(({ leader, from }) => leader === 3 && from.get(0) === 5))
      asked.findLast(({ leader }) => leader === 3)?.answer([await answerOf(0, 5, 2)])
      await until('the rest came', () => offsets().length >= 7)
      expect(offsets()).toEqual(range(7))
    },
  )

  it('continues at the first stored record when its offset is gone, also while another leader still answers', async ({
    expect,
  }) => {
    const { led, asked, begin, offsets } = setup([
      [0, 1],
      [1, 2],
    ])
    begin(10)
    await until('both leaders are asked', () => asked.length === 2)
    const [old, other] = [asked.find(({ leader }) => leader === 1), asked.find(({ leader }) => leader === 2)]
    led.set(0, 3).set(1, 3)
    other?.answer([{ ...(await answerOf(1, 0, 0)), error: 'NOT_LEADER_FOR_PARTITION' }])
    await until('the new one is asked', () => asked.some(({ leader }) => leader === 3))
    asked.find(({ leader }) => leader === 3)?.answer([{ ...(await answerOf(0, 0, 0)), error: 'OFFSET_OUT_OF_RANGE' }])
    await until('it is asked from the first', () => asked.some(({ leader, from }) => leader === 3 && from.get(0) === 0))
    old?.answer([await answerOf(0, 10, 3)])
    asked.findLast(({ leader }) => leader === 3)?.answer([await answerOf(0, 0, 5)])
    await until('it came', () => offsets().length >= 5)
    expect(offsets()).toEqual(range(5))
  })

  it.for([
    [true, 'goes on where it stood', [10]],
    [false, 'asks for nothing more', []],
  ] as const)('of a topic that was not known for a while (the same: %s) %s', async ([isSame, , then], { expect }) => {
    const { asked, begin, doubts, fetcher } = setup([[0, 1]])
    doubts.isSame = isSame
    begin(10)
    await until('it is asked', () => asked.length === 1)
    asked[0]?.answer([{ ...(await answerOf(0, 0, 0)), error: 'UNKNOWN_TOPIC_OR_PARTITION' }])
    if (isSame) await until('it is asked again', () => asked.length === 2)
    else await until('it has stopped', () => fetcher.isStopped)
    expect(doubts.count).toBe(1)
    expect(asked.slice(1).map(({ from }) => from.get(0))).toEqual(then)
  })

  it('begins at the first record of a partition without a position once it has a leader, and reads the others before', async ({
    expect,
  }) => {
    const { led, asked, fetcher } = setup([
      [0, 1],
      [1, -1],
    ])
    fetcher.start(
      [0, 1].map((partition) => new AssignedPartition(partition)),
      new Map([[0, 500]]),
    )
    await until('the one with a leader is asked', () => asked.length === 1)
    expect(asked[0]).toMatchObject({ leader: 1, from: new Map([[0, 500]]) })
    led.set(1, 2)
    await until('the other one is asked', () => asked.length === 2)
    expect(asked[1]).toMatchObject({ leader: 2, from: new Map([[1, 0]]) })
  })

  it('fetches a partition from the leader it moves to while that leader has another one without room', async ({
    expect,
  }) => {
    const { led, asked, fetcher } = setup([
      [0, 1],
      [1, 2],
    ])
    const [full, moving] = [new AssignedPartition(0), new AssignedPartition(1)]
    const messages = range(101).map((offset) => ({ key: null, value: Buffer.from('x'), timestamp: 0, offset }))
    full.append({ partition: 0, messages, lastOffset: () => 100 })
    const begin = new Map([
      [0, 101],
      [1, 7],
    ])
    fetcher.start([full, moving], begin)
    await until('the one with room is asked', () => asked.length === 1)
    led.set(1, 1)
    asked[0]?.answer([{ ...(await answerOf(1, 0, 0)), error: 'NOT_LEADER_FOR_PARTITION' }])
    await until('its new leader is asked', () => asked.length === 2)
    expect(asked[1]).toMatchObject({ leader: 1, from: new Map([[1, 7]]) })
  })

  it('keeps to the first offset that a leader told first', async ({ expect }) => {
    const told = Promise.withResolvers<ReadonlyMap<number, number>>()
    const brokers = { call: () => told.promise } as unknown as Cluster
    const place = { assigned: new AssignedPartition(0), next: undefined as number | undefined, leader: 1 }
    const filling = new FirstOffsets(brokers, 't').fillIn(1, [place])
    place.next = 7
    told.resolve(new Map([[0, 0]]))
    expect([await filling, place.next]).toEqual([false, 7])
  })

  it('is lost permanently without the permission', async ({ expect }) => {
    const { asked, begin, lost } = setup([[0, 1]])
    begin(0)
    await until('it is asked', () => asked.length === 1)
    asked[0]?.answer([{ ...(await answerOf(0, 0, 0)), error: 'TOPIC_AUTHORIZATION_FAILED' }])
    await until('it says so', () => lost.length === 1)
    expect(lost).toMatchObject([{ type: 'TOPIC_AUTHORIZATION_FAILED' }])
  })
})
