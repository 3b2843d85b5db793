import fc from 'fast-check'
import { expect, it } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- pure inside of the schedule: instants, without its waiting
import { cronTicks, everyTicks, type Ticks } from '../../../election/schedule/ticks.ts'

const at = (text: string): number => Date.parse(text)
const cron = (expression: string, timeZone = 'UTC'): Ticks =>
  cronTicks('job("j")', expression, timeZone, at('2026-11-20T00:00:00Z'))

it('no tick is between the last one up to an instant and the first one after it', () => {
  const kinds: readonly Ticks[] = [
    everyTicks('p', 1_000),
    everyTicks('p', 7_777),
    cron('*/7 * * * * *'),
    cron('30 2 * * *', 'Europe/Berlin'),
    cron('15 */2 * * *', 'America/New_York'),
  ]
  fc.assert(
    fc.property(
      fc.integer({ min: at('2026-01-01T00:00:00Z'), max: at('2027-12-31T00:00:00Z') }),
      fc.constantFrom(...kinds),
      fc.boolean(),
      (instant, ticks, onTheTick) => {
        const moment = onTheTick ? (ticks.after(instant) as number) : instant
        const before = ticks.upTo(moment) as number
        const after = ticks.after(moment) as number
        expect(before).toBeLessThanOrEqual(moment)
        expect(after).toBeGreaterThan(moment)
        expect(ticks.after(before)).toBe(after)
        expect(ticks.upTo(after - 1)).toBe(before)
        if (onTheTick) expect(before).toBe(moment)
      },
    ),
    { numRuns: 200 },
  )
})
