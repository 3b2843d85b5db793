import { describe, it } from 'vitest'
import { type KafkaBatch, Lane } from '../inside.ts'

function batch(offsets: readonly number[], last: number): KafkaBatch {
  const messages = offsets.map((offset) => ({
    key: null,
    value: Buffer.alloc(1),
    timestamp: '0',
    offset: String(offset),
    headers: {},
  }))
  return { topic: 't', partition: 0, messages, lastOffset: () => String(last) }
}

function setup() {
  const lane = new Lane(0)
  const take = () => {
    const parcel = lane.next()
    if (parcel === undefined) throw new Error('nothing waits')
    return parcel
  }
  return { lane, take }
}

describe('lane', () => {
  it('stands at the first message it was given, before anything is taken', ({ expect }) => {
    const { lane } = setup()
    expect(lane.tracker.position).toBeUndefined()
    lane.append(batch([5, 6], 6))
    expect(lane.tracker.position).toBe(5)
    expect(lane.fetchPosition).toBe(7)
    expect(lane.waiting).toBe(2)
  })

  it('commits past what is none of ours only after everything before it is finished', ({ expect }) => {
    const { lane, take } = setup()
    lane.append(batch([5], 8))
    lane.append(batch([], 12))
    lane.append(batch([13], 13))
    const first = take()
    expect(lane.tracker.position).toBe(5)
    lane.tracker.finish(first)
    expect(lane.tracker.position).toBe(13)
    const last = take()
    expect(lane.tracker.position).toBe(13)
    lane.tracker.finish(last)
    expect(lane.tracker.position).toBe(14)
    expect(lane.next()).toBeUndefined()
  })

  it('passes a batch with nothing of ours at once when nothing waits', ({ expect }) => {
    const { lane } = setup()
    lane.append(batch([], 12))
    expect(lane.tracker.position).toBe(13)
    expect(lane.waiting).toBe(0)
  })

  it('hands out what was given back first, in the order of offsets', ({ expect }) => {
    const { lane, take } = setup()
    lane.append(batch([1, 2, 3, 4], 4))
    const [one, two, three] = [take(), take(), take()]
    lane.putBack(three)
    lane.putBack(one)
    lane.putBack(two)
    expect(lane.waiting).toBe(4)
    expect([take(), take(), take(), take()].map(({ offset, returned }) => [offset, returned])).toEqual([
      [1, true],
      [2, true],
      [3, true],
      [4, false],
    ])
  })

  it('never calls what nobody has taken a gap', ({ expect }) => {
    const { lane, take } = setup()
    lane.append(batch([1, 2, 3], 3))
    const [one, two] = [take(), take()]
    lane.tracker.finish(two)
    expect(lane.nextGap()).toBeUndefined()
    lane.putBack(one)
    expect(lane.nextGap()).toBe(one)
    expect(lane.nextGap()).toBeUndefined()
  })
})
