import fc from 'fast-check'
import { expect, it } from 'vitest'
import { FakeClock } from '../support/locks/fake-clock.ts'
import { type EventEnvelope, SeenEvents } from './inside.ts'

const WINDOW_MS = 1_000
const MAX_EVENTS = 5

interface Step {
  readonly id: number
  readonly sender: string
  readonly afterMs: number
}

const steps = fc.array(
  fc.record({
    id: fc.integer({ min: 0, max: 12 }),
    sender: fc.constantFrom('a:b:c', 'a:b:d'),
    afterMs: fc.oneof(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 0, max: 700 })),
  }),
  { maxLength: 200 },
)

it('an event counts as new at most once within the window, among any others, and few are remembered', () => {
  fc.assert(
    fc.property(steps, (list: readonly Step[]) => {
      const clock = new FakeClock()
      const seen = new SeenEvents({ clock, windowMs: WINDOW_MS, maxEvents: MAX_EVENTS })
      const takenAt = new Map<string, number>()
      /** Time of each id's first use: a replayed event has its old time. */
      const times = new Map<string, number>()
      for (const { id, sender, afterMs } of list) {
        clock.stall(afterMs)
        const key = `${sender} ${id}`
        const time = times.get(key) ?? clock.now()
        times.set(key, time)
        const event = { sender, id: String(id), time } as EventEnvelope
        const isNew = !seen.has(event) && !seen.isForgotten(event) && seen.begin(event)
        const before = takenAt.get(key)
        if (isNew && before !== undefined) expect(clock.monotonic() - before).toBeGreaterThanOrEqual(WINDOW_MS)
        if (isNew) takenAt.set(key, clock.monotonic())
        expect(seen.size).toBeLessThanOrEqual(MAX_EVENTS)
      }
    }),
    { numRuns: 500 },
  )
})
