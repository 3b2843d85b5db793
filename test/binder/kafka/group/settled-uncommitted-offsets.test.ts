import type { TransportDelivery } from 'concordat/extension'
import { describe, expect, it } from 'vitest'
import { type FetchedBatch, PartitionLending, SettledOffsets } from '../inside.ts'
import { range } from '../kit.ts'

function batch(from: number, count: number, timestamp: string): FetchedBatch {
  const messages = range(count, from).map((offset) => ({
    key: null,
    value: Buffer.alloc(1),
    timestamp,
    offset: String(offset),
    headers: {},
  }))
  return { partition: 0, messages, lastOffset: () => String(from + count - 1) }
}

/** One process, in which members of the group follow each other. */
function process(settled = new SettledOffsets()) {
  return () => {
    const lent: TransportDelivery[] = []
    const positions: Array<number | undefined> = []
    const lending = new PartitionLending(
      [0],
      { topic: 't', prefetch: 100, prefetchBytes: 1_000_000, partitions: 1, settled },
      {
        deliver: (delivery) => lent.push(delivery),
        onProgress: ({ tracker }) => positions.push(tracker.position),
        onReleased: () => {},
        onRoom: () => {},
      },
    )
    const feed = (from: number, count: number, timestamp = '7'): void => {
      const assigned = lending.partitions.get(0)
      assigned?.append(batch(from, count, timestamp))
      lending.lend(assigned)
    }
    const offsets = (): number[] => lent.map(({ position }) => Number(position.split(' ').at(-1)))
    return { lending, lent, feed, offsets, positions }
  }
}

const lost = new Error('no heartbeat was answered')

describe('a settled message of a lost lending', () => {
  it('is not handled again when the partition comes back, and is committed then', () => {
    const member = process()
    const first = member()
    first.feed(0, 5)
    for (const at of [0, 1, 3]) first.lent[at]?.ack()
    first.lending.withdraw(lost)
    const second = member()
    second.feed(0, 6)
    expect(second.offsets()).toEqual([2, 4, 5])
    expect(second.positions.at(-1)).toBe(2)
    second.lent[0]?.ack()
    expect(second.positions.at(-1)).toBe(4)
  })

  it('stays settled over several losses in a row', () => {
    const member = process()
    const first = member()
    first.feed(0, 3)
    first.lent[0]?.ack()
    first.lending.withdraw(lost)
    member().lending.withdraw(lost)
    const third = member()
    third.feed(0, 3)
    third.lent[0]?.ack()
    third.lending.withdraw(lost)
    const fourth = member()
    fourth.feed(0, 3)
    expect(fourth.offsets()).toEqual([2])
  })

  it('is read again when the group was moved back below its last commit', () => {
    const member = process()
    const first = member()
    first.feed(10, 5)
    first.lent[0]?.ack()
    first.lending.committed(new Map([[0, 11]]))
    first.lent[1]?.ack()
    first.lending.withdraw(lost)
    const second = member()
    second.feed(10, 5)
    expect(second.offsets()).toEqual([10, 11, 12, 13, 14])
  })

  it('does not apply to another record at the same offset, after the topic was recreated or lost records', () => {
    const member = process()
    const first = member()
    first.feed(0, 3)
    first.lent[0]?.ack()
    first.lending.withdraw(lost)
    const second = member()
    second.feed(0, 3, '8')
    expect(second.offsets()).toEqual([0, 1, 2])
  })

  it('is forgotten with the commit: another member continues from there', () => {
    const member = process()
    const first = member()
    first.feed(0, 3)
    for (const delivery of first.lent) delivery.ack()
    first.lending.committed(new Map([[0, 3]]))
    expect(first.lending.partitions.get(0)?.uncommitted).toBeUndefined()
  })

  it('is forgotten with a commit of the next assignment as well', () => {
    const member = process()
    const first = member()
    first.feed(0, 5)
    for (const delivery of first.lent) delivery.ack()
    first.lending.withdraw(lost)
    const second = member()
    second.feed(3, 3)
    second.lending.committed(new Map([[0, 4]]))
    expect([...(second.lending.partitions.get(0)?.uncommitted?.timestamps.keys() ?? [])]).toEqual([4])
    second.lending.committed(new Map([[0, 5]]))
    expect(second.lending.partitions.get(0)?.uncommitted).toBeUndefined()
  })

  it('is remembered from the committed position on, also when the next assignment commits more', () => {
    const member = process()
    const first = member()
    first.feed(0, 5)
    for (const delivery of first.lent) delivery.ack()
    first.lending.committed(new Map([[0, 3]]))
    first.lending.withdraw(lost)
    const second = member()
    second.lending.committed(new Map([[0, 4]]))
    second.lending.withdraw(lost)
    const third = member()
    third.feed(4, 2)
    expect(third.offsets()).toEqual([5])
  })

  it('is remembered when it is at the committed position itself', () => {
    const { lending, lent, feed } = process()()
    feed(0, 5)
    for (const delivery of lent) delivery.ack()
    lending.committed(new Map([[0, 3]]))
    expect([...(lending.partitions.get(0)?.uncommitted?.timestamps.keys() ?? [])]).toEqual([3, 4])
  })
})

it('a group that has committed does not count as one that begins: if its offsets are lost, that is told anew', () => {
  const settled = new SettledOffsets()
  settled.isBeginning = true
  process(settled)().lending.committed(new Map([[0, 3]]))
  expect(settled.isBeginning).toBe(false)
})
