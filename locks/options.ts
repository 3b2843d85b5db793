import { hostname } from 'node:os'
import { type Clock, SECOND, systemClock } from '../core/clock.ts'
import { invalidOption, requireInteger, requireText } from '../core/errors.ts'
import { type Logger, silentLogger } from '../core/logger.ts'
import { optionNames, refuseUnknown } from '../core/options.ts'
import type { AcquireOptions } from './lock.ts'
import { type LeaseTiming, leaseTiming } from './validity.ts'

/** Options every lock factory takes. */
export interface LocksOptions {
  /** Named in `inspect` and in the errors of those who find the lock busy. @default `<host name>:<process id>` */
  readonly owner?: string | undefined
  /**
   * Part of every ttl left unused because the event loop may be late, beside 1 % + 2 ms for clock drift.
   * Raise it to the longest stall you expect. @default 2 % of the ttl, at least 5 ms
   */
  readonly stallMarginMs?: number | undefined
  /**
   * How often a waiter asks again and refreshes its place; it loses the place after three misses. Wake-ups do not depend
   * on it. @default 1 second
   */
  readonly heartbeatMs?: number | undefined
  /** Told of failed renewals, lost locks and unconfirmed releases; never of values. @default silentLogger */
  readonly logger?: Logger | undefined
  /** @default systemClock */
  readonly clock?: Clock | undefined
}

/** For the names of a factory's own options: those that every factory takes. */
export const LOCKS_NAMES: Readonly<Record<keyof LocksOptions, true>> = {
  owner: true,
  stallMarginMs: true,
  heartbeatMs: true,
  logger: true,
  clock: true,
}

export interface ResolvedLocks {
  readonly owner: string
  readonly stallMarginMs: number | undefined
  readonly heartbeatMs: number
  readonly logger: Logger
  readonly clock: Clock
}

/** Merges with the defaults and checks. @throws TypeError / RangeError naming the option */
export function resolveLocks(options: LocksOptions): ResolvedLocks {
  return {
    owner: requireText('locks.owner', options.owner ?? `${hostname()}:${process.pid}`),
    stallMarginMs:
      options.stallMarginMs === undefined ? undefined : requireInteger('locks.stallMarginMs', options.stallMarginMs, 0),
    heartbeatMs: requireInteger('locks.heartbeatMs', options.heartbeatMs ?? 1 * SECOND, 10),
    logger: options.logger ?? silentLogger,
    clock: options.clock ?? systemClock,
  }
}

export interface ResolvedAcquire {
  readonly timing: LeaseTiming
  readonly waitMs: number
  readonly maxHoldMs: number
  readonly tokenAbove: number
  readonly owner: string
  readonly signal: AbortSignal | undefined
}

const DEFAULT_TTL_MS = 10 * SECOND
const DEFAULT_WAIT_MS = 10 * SECOND
const MIN_TTL_MS = 100
/** Room for ~2^50 µs above any time until 2200, and far from the end of exact numbers. */
const MAX_TOKEN = 2 ** 52

const ACQUIRE_NAMES = optionNames<AcquireOptions>({
  ttlMs: true,
  waitMs: true,
  maxHoldMs: true,
  tokenAbove: true,
  owner: true,
  signal: true,
})

/** @throws TypeError / RangeError naming the key and the option */
export function resolveAcquire(key: string, options: AcquireOptions, locks: ResolvedLocks): ResolvedAcquire {
  requireText('lock key', key)
  if (key.startsWith('}')) throw invalidOption('lock key', key, 'a key that does not begin with "}"')
  const path = `lock("${key}")`
  refuseUnknown(path, options, ACQUIRE_NAMES)
  const ttlMs = requireInteger(`${path}.ttlMs`, options.ttlMs ?? DEFAULT_TTL_MS, MIN_TTL_MS)
  const timing = leaseTiming(ttlMs, locks.stallMarginMs)
  if (timing.marginMs > ttlMs / 2) {
    throw invalidOption(`${path}.ttlMs`, ttlMs, `at least twice the margin of ${Math.ceil(timing.marginMs)} ms`)
  }
  return {
    timing,
    waitMs: requireDuration(`${path}.waitMs`, options.waitMs ?? DEFAULT_WAIT_MS),
    maxHoldMs: requireDuration(`${path}.maxHoldMs`, options.maxHoldMs ?? Number.POSITIVE_INFINITY),
    tokenAbove: requireInteger(`${path}.tokenAbove`, options.tokenAbove ?? 0, 0, MAX_TOKEN),
    owner: options.owner === undefined ? locks.owner : requireText(`${path}.owner`, options.owner),
    signal: options.signal,
  }
}

function requireDuration(path: string, value: number): number {
  return value === Number.POSITIVE_INFINITY ? value : requireInteger(path, value, 0)
}
