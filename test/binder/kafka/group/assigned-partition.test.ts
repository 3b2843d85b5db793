import { describe, it } from 'vitest'
import { AssignedPartition, type FetchedBatch, SettledRecords } from '../inside.ts'
import { range } from '../kit.ts'

function batch(offsets: readonly number[], last: number): FetchedBatch {
  const messages = offsets.map((offset) => ({
    key: null,
    value: Buffer.alloc(1),
    timestamp: '0',
    offset: String(offset),
    headers: {},
  }))
  return { partition: 0, messages, lastOffset: () => String(last) }
}

function setup() {
  const assigned = new AssignedPartition(0)
  const take = () => {
    const parcel = assigned.next()
    if (parcel === undefined) throw new Error('nothing waits')
    return parcel
  }
  return { assigned, take }
}

describe('assigned', () => {
  it('stands at the first message it was given, before anything is taken', ({ expect }) => {
    const { assigned } = setup()
    expect(assigned.tracker.position).toBeUndefined()
    assigned.append(batch([5, 6], 6))
    expect(assigned.tracker.position).toBe(5)
    expect(assigned.fetchPosition).toBe(7)
    expect(assigned.waiting).toBe(2)
  })

  it('commits past foreign records only after every earlier message is finished', ({ expect }) => {
    const { assigned, take } = setup()
    assigned.append(batch([5], 8))
    assigned.append(batch([], 12))
    assigned.append(batch([13], 13))
    const first = take()
    expect(assigned.tracker.position).toBe(5)
    assigned.tracker.finish(first)
    expect(assigned.tracker.position).toBe(13)
    const last = take()
    expect(assigned.tracker.position).toBe(13)
    assigned.tracker.finish(last)
    expect(assigned.tracker.position).toBe(14)
    expect(assigned.next()).toBeUndefined()
  })

  it('passes a batch of foreign records at once when no message waits', ({ expect }) => {
    const { assigned } = setup()
    assigned.append(batch([], 12))
    expect(assigned.tracker.position).toBe(13)
    expect(assigned.waiting).toBe(0)
  })

  it('redelivers returned messages first, in the order of offsets', ({ expect }) => {
    const { assigned, take } = setup()
    assigned.append(batch([1, 2, 3, 4], 4))
    const [one, two, three] = [take(), take(), take()]
    assigned.putBack(three)
    assigned.putBack(one)
    assigned.putBack(two)
    expect(assigned.waiting).toBe(4)
    expect([take(), take(), take(), take()].map(({ offset, returned }) => [offset, returned])).toEqual([
      [1, true],
      [2, true],
      [3, true],
      [4, false],
    ])
  })

  it('keeps nothing of a finished message but its offset, and fetches no further than 50,000 behind an unfinished one', ({
    expect,
  }) => {
    const { assigned, take } = setup()
    assigned.append(batch(range(50_000), 49_999))
    const [first, ...others] = range(50_000).map(take)
    for (const each of others) {
      assigned.finish(each)
      expect(each.record).toBeUndefined()
    }
    expect([assigned.waiting, assigned.hasRoom(100)]).toEqual([0, false])
    if (first !== undefined) assigned.finish(first)
    expect(assigned.hasRoom(100)).toBe(true)
  })

  it('fetches no further than 50,000 settled messages that are not committed, and is due for a commit before', ({
    expect,
  }) => {
    const assigned = new AssignedPartition(0, undefined, new SettledRecords(undefined))
    assigned.append(batch(range(50_000), 49_999))
    for (let taken = 1; taken <= 50_000; taken++) {
      const parcel = assigned.next()
      if (parcel !== undefined) assigned.finish(parcel)
      if (taken === 24_999) expect(assigned.isCommitDue).toBe(false)
    }
    expect([assigned.isCommitDue, assigned.hasRoom(100)]).toEqual([true, false])
    assigned.committed(50_000)
    expect([assigned.isCommitDue, assigned.hasRoom(100)]).toEqual([false, true])
  })

  it('never calls an offset that was not fetched yet a gap', ({ expect }) => {
    const { assigned, take } = setup()
    assigned.append(batch([1, 2, 3], 3))
    const [one, two] = [take(), take()]
    assigned.tracker.finish(two)
    expect(assigned.nextGap()).toBeUndefined()
    assigned.putBack(one)
    expect(assigned.nextGap()).toBe(one)
    expect(assigned.nextGap()).toBeUndefined()
  })
})
