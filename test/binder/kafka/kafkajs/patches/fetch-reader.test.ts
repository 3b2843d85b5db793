import { describe, it } from 'vitest'
import { ByteWriter, decodeFetch, readFetchesOf, writeBatch } from '../../inside.ts'
import { range } from '../../kit.ts'

const LIMITS = { answerBytes: 100_000, roomBytes: 100_000, maxBatchBytes: 1_000_000 }
const READING = { ...LIMITS, findCodec: () => undefined, turn: 0, startOf: () => 0 }

/** Answer in version 4 with a batch per partition, of `count` records of `size` bytes. */
async function answerOf(partitions: number, count: number, size: number): Promise<Buffer> {
  const value = Buffer.alloc(size, 'x')
  const envelope = { topic: 't', key: null, value, headers: {}, bytes: size + 100, index: 0, place: 0 }
  const head = { time: 1, identity: { id: -1, epoch: -1 }, sequence: -1, compression: 'none' } as const
  const batch = await writeBatch(
    range(count).map(() => envelope),
    head,
  )
  const to = new ByteWriter()
  to.int32(0).array(['t'], (topic) => {
    to.string(topic).array(range(partitions), (partition) => {
      to.int32(partition).int16(0).int64(count).int64(count).int32(0).bytesField(batch)
    })
  })
  return to.bytes
}

describe('an answer to a fetch of kafkajs', () => {
  it('is read in turns, as space permits, and its rest is empty', async ({ expect }) => {
    const bytes = await answerOf(3, 10, 9_000)
    for (const turn of range(4)) {
      const { responses } = await decodeFetch(4, bytes, { ...READING, turn })
      const parts = responses[0]?.partitions ?? []
      const first = turn % 3
      expect(parts.map(({ partition }) => partition)).toEqual([0, 1, 2])
      // 100 000 are reached in the second one.
      expect(parts.map(({ isLeft }) => isLeft === true)).toEqual(range(3).map((n) => n === (first + 2) % 3))
      expect(parts.map(({ messages }) => messages.length)).toEqual(
        range(3).map((n) => (n === (first + 2) % 3 ? 0 : 10)),
      )
    }
  })

  it('yields as much of a partition as fits, and continues after it', async ({ expect }) => {
    const bytes = await answerOf(1, 10, 9_000)
    const reading = { ...READING, roomBytes: 30_000 }
    const offsets: unknown[] = []
    for (let from = 0; from < 10; from = Number(offsets.at(-1)) + 1) {
      const { responses } = await decodeFetch(4, bytes, { ...reading, startOf: () => from })
      const messages = responses[0]?.partitions[0]?.messages ?? []
      expect(messages.length).toBeLessThanOrEqual(3)
      offsets.push(...messages.map(({ offset }) => offset))
    }
    expect(offsets).toEqual(range(10))
  })

  it('is not read in a kafkajs with other internals, with a warning', async ({ expect }) => {
    const bare = { findTopicPartitionMetadata: () => [] }
    expect(() => readFetchesOf(bare, LIMITS, () => {})).toThrow(/needs kafkajs 2.2/)
    const cluster = { ...bare, findBroker: () => Promise.resolve({}) }
    readFetchesOf(cluster, LIMITS, () => {})
    await expect(cluster.findBroker()).rejects.toThrow(/needs kafkajs 2.2/)
  })
})
