import { describe, expect, it } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- pure inside of the schedule: instants, without its waiting
import { cronTicks, everyTicks, type Ticks } from '../../../election/schedule/ticks.ts'

const at = (text: string): number => Date.parse(text)
const cron = (expression: string, timeZone = 'UTC'): Ticks =>
  cronTicks('job("j")', expression, timeZone, at('2026-11-20T00:00:00Z'))

function next(ticks: Ticks, from: string, count: number): string[] {
  const found: string[] = []
  for (let last = at(from); found.length < count; ) {
    const tick = ticks.after(last)
    if (tick === undefined) break
    last = tick
    found.push(new Date(tick).toISOString().replace(':00.000Z', 'Z'))
  }
  return found
}

describe('ticks of a period', () => {
  it('are its multiples since 1970, in every process', () => {
    expect(next(everyTicks('p', 60_000), '2026-11-20T10:00:30Z', 2)).toEqual(['2026-11-20T10:01Z', '2026-11-20T10:02Z'])
    expect(next(everyTicks('p', 86_400_000), '2026-11-20T10:00:30Z', 1)).toEqual(['2026-11-21T00:00Z'])
  })
})

describe('ticks of a cron expression', () => {
  it('are in UTC, or in the time zone given', () => {
    expect(next(cron('30 2 * * *'), '2026-11-20T00:00:00Z', 1)).toEqual(['2026-11-20T02:30Z'])
    expect(next(cron('30 2 * * *', 'Europe/Berlin'), '2026-11-20T00:00:00Z', 1)).toEqual(['2026-11-20T01:30Z'])
    expect(next(cron('0 9 * * MON', 'America/New_York'), '2026-11-20T00:00:00Z', 1)).toEqual(['2026-11-23T14:00Z'])
  })

  it('come when the clock has been put forward over them', () => {
    // Berlin, 29 March 2026: 02:00 becomes 03:00.
    expect(next(cron('30 2 * * *', 'Europe/Berlin'), '2026-03-28T12:00:00Z', 2)).toEqual([
      '2026-03-29T01:00Z',
      '2026-03-30T00:30Z',
    ])
  })

  it('come once when the clock is put back over a fixed time, and with what passes for steps', () => {
    // Berlin, 25 October 2026: 03:00 becomes 02:00.
    expect(next(cron('30 2 * * *', 'Europe/Berlin'), '2026-10-24T12:00:00Z', 2)).toEqual([
      '2026-10-25T00:30Z',
      '2026-10-26T01:30Z',
    ])
    expect(next(cron('*/30 * * * *', 'Europe/Berlin'), '2026-10-24T23:40:00Z', 4)).toEqual([
      '2026-10-25T00:00Z',
      '2026-10-25T00:30Z',
      '2026-10-25T01:00Z',
      '2026-10-25T01:30Z',
    ])
  })

  it('end with the last one: an expression with a year is taken after that, too', () => {
    const over = cron('0 0 3 1 12 * 2020')
    expect(over.after(at('2026-11-20T00:00:00Z'))).toBeUndefined()
    expect(over.upTo(at('2026-11-20T00:00:00Z'))).toBe(at('2020-12-01T03:00:00Z'))
  })

  it('know seconds, years and names', () => {
    expect(cron('*/10 * * * * *').after(at('2026-11-20T00:00:01Z'))).toBe(at('2026-11-20T00:00:10Z'))
    expect(cron('@daily').after(at('2026-11-20T00:00:01Z'))).toBe(at('2026-11-21T00:00:00Z'))
    const once = cron('0 0 12 1 1 * 2097')
    expect(once.after(at('2026-11-20T00:00:00Z'))).toBe(at('2097-01-01T12:00:00Z'))
    expect(once.after(at('2097-01-01T12:00:00Z'))).toBeUndefined()
    expect(once.upTo(at('2026-11-20T00:00:00Z'))).toBeUndefined()
  })

  it.for([
    ['61 * * * *', 'job("j").cron: expected a cron expression such as "30 2 * * MON-FRI", got "61 * * * *": '],
    ['* * *', 'got "* * *": CronPattern: invalid configuration format'],
    ['every day', 'got "every day"'],
    ['0 0 30 2 *', 'it never comes'],
    ['* * * 30 2 * 2020', 'it never comes'],
    ['2030-01-01T00:00:00', 'it is a date'],
    ['', 'job("j").cron: expected a non-empty string'],
  ] as const)('refuses %s, naming it', ([expression, message]) => {
    expect(() => cron(expression)).toThrow(TypeError)
    expect(() => cron(expression)).toThrow(message)
  })

  it('refuses an unknown time zone', () => {
    expect(() => cron('* * * * *', 'Mars/Olympus')).toThrow('job("j").timeZone: expected an IANA time zone')
    expect(() => cron('* * * * *', '')).toThrow('job("j").timeZone: expected a non-empty string')
  })
})
