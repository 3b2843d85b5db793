/** Options for batches, rate limits and circuit breakers. */
import { DAY } from '../../core/clock.ts'
import { invalidOption, requireInteger } from '../../core/errors.ts'
import { optionNames, refuseUnknown, requireFunction } from '../../core/option-checks.ts'

/** Limits of a batch. */
export interface BatchLimits {
  /** Maximum number of messages per call, 1 to 10 000. @default 100 */
  readonly maxSize?: number | undefined
  /** How long a message waits for others, in ms; at least 1. A full batch starts at once. @default 100 */
  readonly maxWaitMs?: number | undefined
}

/**
 * A token bucket: `burst` messages may begin at once, and `perSecond` more each second. Further attempts of a message do not wait
 * for the bucket, but use its tokens.
 */
export interface RateLimitOptions {
  /** More than 0, at most 1 000 000. Fractions are allowed: 0.1 is one in 10 s. */
  readonly perSecond: number
  /** Size of the bucket, at least 1. A batch is never larger. @default one second's worth, at least 1 */
  readonly burst?: number | undefined
}

/**
 * Opens after `failures` consecutive failed handler calls, or when `failureRate` of the last `minimum` calls failed; give one of
 * the two, or both. A call of a batch handler has failed if none of its messages was handled.
 */
export interface CircuitBreakerOptions {
  /** Number of consecutive failed calls, at least 1. */
  readonly failures?: number | undefined
  /** Share of the last `minimum` calls, more than 0 and at most 1. */
  readonly failureRate?: number | undefined
  /** Number of calls that `failureRate` refers to; fewer calls never open it. @default 20 */
  readonly minimum?: number | undefined
  /** How long it stays open before a trial message, in ms. */
  readonly pauseMs: number
  /**
   * Number of failed trials of one message that do not count as attempts, 0 or more. Further ones count, so that a message that
   * always fails does not block a binding with `concurrency` 1 for longer than `freeTrials * pauseMs`. A shorter outage
   * dead-letters no trial message. @default 100
   */
  readonly freeTrials?: number | undefined
  /**
   * Tells which errors count. Others neither open nor close it. @default all but those with `retryable === false`, which are
   * about the message and not about the system that handles it
   */
  readonly counts?: ((error: Error) => boolean) | undefined
}

export interface ResolvedBatch {
  readonly maxSize: number
  readonly maxWaitMs: number
}

export interface ResolvedRateLimit {
  readonly perSecond: number
  readonly burst: number
}

export interface ResolvedCircuitBreaker {
  readonly failures: number
  readonly failureRate: number
  readonly minimum: number
  readonly pauseMs: number
  readonly freeTrials: number
  readonly counts: ((error: Error) => boolean) | undefined
}

const BATCH_NAMES = optionNames<BatchLimits>({ maxSize: true, maxWaitMs: true })
const RATE_NAMES = optionNames<RateLimitOptions>({ perSecond: true, burst: true })
const BREAKER_NAMES = optionNames<CircuitBreakerOptions>({
  failures: true,
  failureRate: true,
  minimum: true,
  pauseMs: true,
  freeTrials: true,
  counts: true,
})
const BATCH_DEFAULTS = Object.freeze({ maxSize: 100, maxWaitMs: 100 })
const MAX_PER_SECOND = 1_000_000
const DEFAULT_MINIMUM = 20
const MAX_MINIMUM = 100_000
const DEFAULT_FREE_TRIALS = 100

/** @throws TypeError / RangeError naming the option */
export function resolveBatch(path: string, options: BatchLimits = {}): ResolvedBatch {
  refuseUnknown(path, options, BATCH_NAMES)
  return Object.freeze({
    maxSize: requireInteger(`${path}.maxSize`, options.maxSize ?? BATCH_DEFAULTS.maxSize, 1, 10_000),
    maxWaitMs: requireInteger(`${path}.maxWaitMs`, options.maxWaitMs ?? BATCH_DEFAULTS.maxWaitMs, 1, DAY),
  })
}

/** @throws TypeError / RangeError naming the option */
export function resolveRateLimit(path: string, options: RateLimitOptions | undefined): ResolvedRateLimit | undefined {
  if (options === undefined) return undefined
  refuseUnknown(path, options, RATE_NAMES)
  const { perSecond } = options
  if (typeof perSecond !== 'number' || !(perSecond > 0 && perSecond <= MAX_PER_SECOND))
    throw invalidOption(`${path}.perSecond`, perSecond, `a number > 0 and <= ${MAX_PER_SECOND}`)
  const burst = requireInteger(`${path}.burst`, options.burst ?? Math.ceil(perSecond), 1, MAX_PER_SECOND)
  return Object.freeze({ perSecond, burst })
}

/** @throws TypeError / RangeError naming the option */
export function resolveCircuitBreaker(
  path: string,
  options: CircuitBreakerOptions | undefined,
): ResolvedCircuitBreaker | undefined {
  if (options === undefined) return undefined
  refuseUnknown(path, options, BREAKER_NAMES)
  const { failures, failureRate, minimum, counts } = options
  if (failures === undefined && failureRate === undefined)
    throw invalidOption(path, options, '`failures` (in a row) or `failureRate` (of the last `minimum` calls)')
  if (minimum !== undefined && failureRate === undefined)
    throw invalidOption(`${path}.minimum`, minimum, 'a `failureRate` beside it')
  if (failureRate !== undefined && !(typeof failureRate === 'number' && failureRate > 0 && failureRate <= 1))
    throw invalidOption(`${path}.failureRate`, failureRate, 'a number > 0 and <= 1')
  if (counts !== undefined) requireFunction(`${path}.counts`, counts)
  return Object.freeze({
    failures: failures === undefined ? Number.POSITIVE_INFINITY : requireInteger(`${path}.failures`, failures, 1),
    failureRate: failureRate ?? Number.POSITIVE_INFINITY,
    minimum: requireInteger(`${path}.minimum`, minimum ?? DEFAULT_MINIMUM, 1, MAX_MINIMUM),
    pauseMs: requireInteger(`${path}.pauseMs`, options.pauseMs, 1, DAY),
    freeTrials: requireInteger(`${path}.freeTrials`, options.freeTrials ?? DEFAULT_FREE_TRIALS, 0),
    counts,
  })
}
