import { Cron } from 'croner'
import { invalidOption, requireInteger, requireText, toError } from '../../core/errors.ts'

/** Instants at which a job is due, in epoch ms, the same on every instance. */
export interface Ticks {
  /** Returns the first one later than `at`; `undefined` when there is none. */
  after(at: number): number | undefined
  /** Returns the last one not later than `at`. */
  upTo(at: number): number | undefined
}

/** Multiples of `everyMs` since 1970. @throws RangeError naming the option */
export function everyTicks(path: string, everyMs: unknown): Ticks {
  const period = requireInteger(path, everyMs, 10)
  const upTo = (at: number): number => Math.floor(at / period) * period
  return { after: (at) => upTo(at) + period, upTo }
}

/**
 * Returns the instants of an expression in a time zone. Only computes dates; it starts no timer.
 * @param now epoch ms: an expression without an instant after this or since 1970 is refused
 * @throws TypeError naming the option and the expression: it does not parse, or has no instant
 */
export function cronTicks(path: string, cron: unknown, timeZone: unknown, now: number): Ticks {
  const zone = requireText(`${path}.timeZone`, timeZone)
  const parsed = parse(path, requireText(`${path}.cron`, cron), zone)
  // An expression with a year stays valid after its last tick, so that a restart does not fail because of it.
  const comes = parsed.nextRun(new Date(now)) !== null || parsed.nextRun(new Date(0)) !== null
  if (!comes) throw invalid(path, String(cron), 'it never comes')
  const after = (at: number): number | undefined => parsed.nextRun(new Date(at))?.getTime()
  return {
    after,
    upTo: (at) => {
      // The previous runs exclude the instant itself, and expressions have whole seconds.
      const last = parsed.previousRuns(1, new Date(Math.floor(at / 1_000) * 1_000 + 1_000))[0]
      return last?.getTime()
    },
  }
}

function parse(path: string, cron: string, timeZone: string): Cron {
  try {
    new Intl.DateTimeFormat('en', { timeZone })
  } catch {
    throw invalidOption(`${path}.timeZone`, timeZone, 'an IANA time zone such as Europe/Berlin')
  }
  let parsed: Cron
  try {
    parsed = new Cron(cron, { timezone: timeZone, paused: true })
  } catch (error) {
    throw invalid(path, cron, toError(error).message)
  }
  // croner also accepts a date, which has no pattern.
  if (parsed.getPattern() === undefined) throw invalid(path, cron, 'it is a date')
  return parsed
}

function invalid(path: string, cron: string, why: string): TypeError {
  const { message } = invalidOption(`${path}.cron`, cron, 'a cron expression such as "30 2 * * MON-FRI"')
  return new TypeError(`${message}: ${why}`)
}
