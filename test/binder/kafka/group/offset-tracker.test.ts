import fc from 'fast-check'
import { describe, it } from 'vitest'
import { OffsetTracker } from '../inside.ts'

type Slot = Parameters<OffsetTracker['add']>[0]

function add(tracker: OffsetTracker, offset: number): Slot {
  const slot = { offset, done: false }
  tracker.add(slot)
  return slot
}

describe('offset tracker', () => {
  it('knows no position before the first message', ({ expect }) => {
    expect(new OffsetTracker().position).toBeUndefined()
  })

  it('begins at the first undelivered message', ({ expect }) => {
    const tracker = new OffsetTracker()
    tracker.startAt(10)
    tracker.startAt(20)
    expect(tracker.position).toBe(10)
    tracker.finish(add(tracker, 10))
    expect(tracker.position).toBe(11)
  })

  it('waits for the slowest and then jumps over everything finished', ({ expect }) => {
    const tracker = new OffsetTracker()
    const [a, b, c] = [add(tracker, 10), add(tracker, 11), add(tracker, 15)]
    expect(tracker.finish(b)).toBe(false)
    expect(tracker.finish(c)).toBe(false)
    expect(tracker.position).toBe(10)
    expect(tracker.finish(a)).toBe(true)
    expect(tracker.position).toBe(16)
    expect(tracker.finish(a)).toBe(false)
  })

  it('passes control records only when everything before is finished', ({ expect }) => {
    const tracker = new OffsetTracker()
    const slot = add(tracker, 3)
    tracker.skipTo(7)
    expect(tracker.position).toBe(3)
    tracker.finish(slot)
    expect(tracker.position).toBe(7)
  })

  it('never passes an unfinished message, and reaches the end when all are finished', ({ expect }) => {
    const gaps = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 60 })
    fc.assert(
      fc.property(gaps, fc.infiniteStream(fc.nat()), (steps, choices) => {
        const tracker = new OffsetTracker()
        const open: Slot[] = []
        const waiting = [...steps]
        let offset = 100
        let last = 100
        while (waiting.length > 0 || open.length > 0) {
          const choice = choices.next().value as number
          const step = waiting.length > 0 && (open.length === 0 || choice % 2 === 0) ? waiting.shift() : undefined
          if (step === undefined) tracker.finish(open.splice(choice % open.length, 1)[0] as Slot)
          else open.push(add(tracker, (offset += step)))
          const lowest = Math.min(...open.map((slot) => slot.offset))
          expect(tracker.position).toBe(open.length > 0 ? lowest : offset + 1)
          expect(tracker.position).toBeGreaterThanOrEqual(last)
          last = tracker.position ?? last
        }
      }),
    )
  })

  it('forgets finished messages', ({ expect }) => {
    const tracker = new OffsetTracker()
    for (let offset = 0; offset < 200_000; offset++) tracker.finish(add(tracker, offset))
    expect(tracker.position).toBe(200_000)
  })
})
