import type { TransportDelivery } from 'concordat/extension'
import fc from 'fast-check'
import { describe, it } from 'vitest'
import { type FetchedBatch, PartitionLending } from '../inside.ts'
import { range } from '../kit.ts'

function batch(partition: number, from: number, count: number, bytes = 1): FetchedBatch {
  const messages = range(count, from).map((offset) => ({
    key: null,
    value: Buffer.alloc(bytes),
    timestamp: '0',
    offset: String(offset),
    headers: {},
  }))
  return { partition, messages, lastOffset: () => String(from + count - 1) }
}

function setup(partitions: readonly number[], prefetch: number, prefetchBytes = 1_000_000) {
  const lent: TransportDelivery[] = []
  const released: number[] = []
  const positions = new Map<number, number | undefined>()
  const lending = new PartitionLending(
    partitions,
    { topic: 't', prefetch, prefetchBytes, partitions: partitions.length },
    {
      deliver: (delivery) => lent.push(delivery),
      onProgress: (assigned) => positions.set(assigned.partition, assigned.tracker.position),
      onReleased: (assigned) => released.push(assigned.partition),
      onRoom: () => {},
    },
  )
  const feed = (partition: number, from: number, count: number, bytes?: number): void => {
    const assigned = lending.partitions.get(partition)
    assigned?.append(batch(partition, from, count, bytes))
    lending.lend(assigned)
  }
  const offsets = (partition: number): number[] =>
    lent
      .map(({ position }) => /^partition (\d+) offset (\d+)$/.exec(position))
      .filter((match) => Number(match?.[1]) === partition)
      .map((match) => Number(match?.[2]))
  return { lending, lent, released, positions, feed, offsets }
}

describe('partition lending', () => {
  it('lends in order, at most prefetch, and more when something is settled', ({ expect }) => {
    const { lent, feed, offsets } = setup([0], 3)
    feed(0, 10, 5)
    expect(offsets(0)).toEqual([10, 11, 12])
    lent[1]?.ack()
    expect(offsets(0)).toEqual([10, 11, 12, 13])
  })

  it('keeps nothing of a settled message for a group that commits nothing', ({ expect }) => {
    const { lending, lent, feed } = setup([0], 3)
    feed(0, 10, 3)
    for (const delivery of lent) delivery.ack()
    expect(lending.partitions.get(0)?.uncommitted).toBeUndefined()
  })

  it('redelivers returned messages only after a signal, so that a closing receiver does not get them forever', ({
    expect,
  }) => {
    const given: string[] = []
    const released: number[] = []
    const lending = new PartitionLending(
      [0, 1],
      { topic: 't', prefetch: 10, prefetchBytes: 1_000_000, partitions: 2 },
      {
        deliver: (delivery) => {
          given.push(delivery.position)
          if (given.length > 100) throw new Error('it is lent again and again')
          delivery.release()
        },
        onProgress: () => {},
        onReleased: (assigned) => released.push(assigned.partition),
        onRoom: () => {},
      },
    )
    for (const partition of [0, 1]) {
      const assigned = lending.partitions.get(partition)
      assigned?.append(batch(partition, 0, 3))
      lending.lend(assigned)
    }
    expect(given).toEqual(['partition 0 offset 0', 'partition 1 offset 0'])
    expect(released).toEqual([0, 1])
    lending.lend(lending.partitions.get(1))
    expect(given).toEqual(['partition 0 offset 0', 'partition 1 offset 0', 'partition 1 offset 0'])
  })

  it('stops lending while the bodies on loan exceed prefetchBytes', ({ expect }) => {
    const { lent, feed } = setup([0], 100, 1_000)
    feed(0, 0, 10, 400)
    expect(lent).toHaveLength(3)
    lent[0]?.ack()
    expect(lent).toHaveLength(4)
  })

  it('moves the position to the lowest unfinished message only', ({ expect }) => {
    const { lent, feed, positions } = setup([0], 10)
    feed(0, 0, 4)
    lent[2]?.ack()
    lent[1]?.ack()
    expect(positions.get(0)).toBeUndefined()
    lent[0]?.ack()
    expect(positions.get(0)).toBe(3)
  })

  it('leaves room for other partitions when one does not settle', ({ expect }) => {
    const { feed, offsets } = setup([0, 1, 2], 16)
    feed(0, 0, 100)
    feed(1, 0, 100)
    feed(2, 0, 100)
    expect(offsets(0)).toHaveLength(12)
    expect(offsets(1).length).toBeGreaterThan(0)
    expect(offsets(2).length).toBeGreaterThan(0)
  })

  it('counts a settlement once', ({ expect }) => {
    const { lent, feed } = setup([0], 2)
    feed(0, 0, 10)
    lent[0]?.ack()
    lent[0]?.ack()
    lent[0]?.release()
    expect(lent).toHaveLength(3)
  })

  it('redelivers a released message, in its order, and marks it', ({ expect }) => {
    const { lending, lent, released, feed, offsets } = setup([0], 3)
    feed(0, 0, 5)
    lent[1]?.release()
    lent[0]?.release()
    expect(released).toEqual([0, 0])
    lending.lend(lending.partitions.get(0))
    expect(offsets(0)).toEqual([0, 1, 2, 0, 1])
    expect(lent.map(({ redelivered }) => redelivered)).toEqual([undefined, undefined, undefined, true, true])
  })

  it('lends nothing while held', ({ expect }) => {
    const { lending, lent, feed } = setup([0], 3)
    lending.hold(true)
    feed(0, 0, 5)
    expect(lent).toHaveLength(0)
    lending.hold(false)
    expect(lent).toHaveLength(3)
  })

  it('redelivers, although held, only unfinished messages below a finished one', ({ expect }) => {
    const { lending, lent, feed, offsets } = setup([0], 5)
    feed(0, 0, 8)
    lent[3]?.ack()
    lending.hold(true)
    for (const i of [0, 1, 2, 4, 5]) lent[i]?.release()
    expect(lending.lendGaps()).toHaveLength(3)
    expect(offsets(0).slice(6)).toEqual([0, 1, 2])
    for (const delivery of lent) delivery.ack()
    expect(lending.lendGaps()).toEqual([])
    expect(lending.partitions.get(0)?.tracker.position).toBe(4)
  })

  it('withdraws everything at once: signals abort, settling has no effect', async ({ expect }) => {
    const { lending, lent, feed, positions } = setup([0], 3)
    feed(0, 0, 5)
    const settled = lending.settled()
    lending.withdraw(new Error('gone'))
    await settled
    expect(lent.map(({ signal }) => signal.aborted)).toEqual([true, true, true])
    lent[0]?.ack()
    expect([lent.length, positions.size]).toEqual([3, 0])
  })

  it('is settled when the last delivery on loan is', async ({ expect }) => {
    const { lending, lent, feed } = setup([0], 10)
    await lending.settled()
    feed(0, 0, 2)
    lending.hold(true)
    let isSettled = false
    const settled = lending.settled().then(() => (isSettled = true))
    lent[0]?.ack()
    await Promise.resolve()
    expect(isSettled).toBe(false)
    lent[1]?.release()
    await settled
    expect(isSettled).toBe(true)
  })

  it('tells everyone who waits for the last settlement', async ({ expect }) => {
    const { lending, lent, feed } = setup([0], 3)
    feed(0, 0, 1)
    let told = 0
    const waits = [lending.settled(), lending.settled()].map((wait) => wait.then(() => told++))
    lent[0]?.ack()
    await new Promise(setImmediate)
    expect(told).toBe(waits.length)
  })

  it('keeps the order of each partition and its limits with any order of settlements', ({ expect }) => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 12 }),
        fc.array(fc.record({ partition: fc.nat(2), settle: fc.nat(), count: fc.integer({ min: 0, max: 9 }) })),
        (prefetch, steps) => {
          const { lent, feed, offsets } = setup([0, 1, 2], prefetch)
          const next = [0, 0, 0]
          const acked = new Set<TransportDelivery>()
          for (const { partition, settle, count } of steps) {
            if (count > 0) feed(partition, next[partition] as number, count)
            next[partition] = (next[partition] as number) + count
            const open = lent.filter((each) => !acked.has(each))
            expect(open.length).toBeLessThanOrEqual(prefetch)
            const one = open[settle % Math.max(1, open.length)]
            one?.ack()
            if (one !== undefined) acked.add(one)
          }
          for (let i = 0; i < lent.length; i++) lent[i]?.ack()
          for (const partition of [0, 1, 2]) expect(offsets(partition)).toEqual(range(next[partition] as number))
        },
      ),
    )
  })
})
