import { SECOND } from './clock.ts'
import { invalidOption, requireInteger } from './errors.ts'
import { optionNames, refuseUnknown } from './option-checks.ts'

/** Exponential backoff with a maximum and random jitter. */
export interface BackoffOptions {
  /** Delay before the first retry, in ms. @default 1 second */
  readonly initialMs?: number | undefined
  /** Growth per retry, at least 1. @default 2 */
  readonly factor?: number | undefined
  /** Maximum delay in ms, including jitter. @default 10 seconds */
  readonly maxMs?: number | undefined
  /** Random share of the delay, 0 to 1: 0.2 means between 80 % and 100 %. @default 0.2 */
  readonly jitter?: number | undefined
}

/**
 * Complete settings of the pauses between attempts: the first and the longest in ms, the growth factor, and the random share (0
 * to 1).
 */
export type Backoff = Readonly<Record<'initialMs' | 'factor' | 'maxMs' | 'jitter', number>>

/** Default pauses: 1 s, doubled, at most 10 s, 20 % jitter. */
export const DEFAULT_BACKOFF: Backoff = Object.freeze({
  initialMs: 1 * SECOND,
  factor: 2,
  maxMs: 10 * SECOND,
  jitter: 0.2,
})

const NAMES = optionNames<BackoffOptions>({ initialMs: true, factor: true, maxMs: true, jitter: true })

/** Adds the defaults and validates. @throws TypeError / RangeError with `<path>.<option>` */
export function resolveBackoff(
  path: string,
  options: BackoffOptions = {},
  defaults: Backoff = DEFAULT_BACKOFF,
): Backoff {
  refuseUnknown(path, options, NAMES)
  const initialMs = requireInteger(`${path}.initialMs`, options.initialMs ?? defaults.initialMs, 0)
  const maxMs = requireInteger(`${path}.maxMs`, options.maxMs ?? Math.max(defaults.maxMs, initialMs), initialMs)
  const factor = options.factor ?? defaults.factor
  if (typeof factor !== 'number' || !(factor >= 1)) throw invalidOption(`${path}.factor`, factor, 'a number >= 1')
  const jitter = options.jitter ?? defaults.jitter
  if (typeof jitter !== 'number' || !(jitter >= 0 && jitter <= 1))
    throw invalidOption(`${path}.jitter`, jitter, 'a number from 0 to 1')
  return Object.freeze({ initialMs, maxMs, factor, jitter })
}

/**
 * The pause in ms after failed attempt number `attempt` (1-based).
 * @param random a number in [0, 1), e.g. `Math.random()`
 */
export function backoffDelayMs(backoff: Backoff, attempt: number, random: number): number {
  // Without this, 0 x Infinity would be NaN at a very late attempt.
  if (backoff.initialMs === 0) return 0
  const full = Math.min(backoff.maxMs, backoff.initialMs * backoff.factor ** Math.max(0, attempt - 1))
  return Math.round(full * (1 - backoff.jitter * random))
}
