import { SECOND } from './clock.ts'
import { invalidOption, requireInteger } from './errors.ts'
import { optionNames, refuseUnknown } from './option-checks.ts'

/** Exponential backoff with a cap and full-range jitter around the computed delay. */
export interface BackoffOptions {
  /** Delay before the first retry, in ms. @default 1 second */
  readonly initialMs?: number | undefined
  /** Growth per retry, at least 1. @default 2 */
  readonly factor?: number | undefined
  /** No delay is longer than this, in ms; jitter included. @default 10 seconds */
  readonly maxMs?: number | undefined
  /** Share of the delay that is random, 0 to 1: 0.2 means between 80 % and 100 %. @default 0.2 */
  readonly jitter?: number | undefined
}

/**
 * Pauses between attempts, complete: the first and the longest in ms, the factor from each to the next, and the share
 * that is left to chance (0 to 1).
 */
export type Backoff = Readonly<Record<'initialMs' | 'factor' | 'maxMs' | 'jitter', number>>

/** The pauses where none are given: 1 s, doubled, at most 10 s, 20 % jitter. */
export const DEFAULT_BACKOFF: Backoff = Object.freeze({
  initialMs: 1 * SECOND,
  factor: 2,
  maxMs: 10 * SECOND,
  jitter: 0.2,
})

const NAMES = optionNames<BackoffOptions>({ initialMs: true, factor: true, maxMs: true, jitter: true })

/** Merges with the defaults and checks. @throws TypeError / RangeError naming `<path>.<option>` */
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
