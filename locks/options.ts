import { hostname } from 'node:os'
import { type Clock, DAY, HOUR, SECOND } from '../core/clock.ts'
import { invalidOption, requireInteger, requireText } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import { hasMethods, optionNames, refuseUnknown, wrongKind } from '../core/option-checks.ts'
import { RUNTIME_NAMES, type RuntimeOptions, resolveRuntime } from '../core/runtime-options.ts'
import { checkTelemetry, type Telemetry } from '../core/telemetry-interface.ts'
import type { AcquireOptions, ForceOptions, HoldersSeen, ListOptions, LockMode } from './lock.ts'
import type { ClaimTerms, ListRequest } from './store.ts'
import { defaultStallMarginMs, type LeaseTiming, leaseTiming } from './validity.ts'

/** Options of every lock factory. */
export interface LocksOptions extends RuntimeOptions {
  /** Name shown in `inspect` and in errors when the lock is busy. @default `<host name>:<process id>` */
  readonly owner?: string | undefined
  /**
   * Part of every ttl left unused because the event loop may be late, in addition to 1 % + 2 ms for clock drift. Raise it to the
   * longest stall you expect. @default 2 % of the ttl, at least 5 ms; more, up to a quarter of the ttl, after delays of the event
   * loop or of the store's answers
   */
  readonly stallMarginMs?: number | undefined
  /**
   * Interval at which a waiter repeats its request and refreshes its place; it loses the place after three missed ones. Wake-ups
   * do not depend on it. At most one hour. @default 1 second
   */
  readonly heartbeatMs?: number | undefined
  /**
   * How long a waiter continues to wait while the store is unavailable; then it rejects with `locks.store_unavailable`. Set it
   * above the duration of a failover (Sentinel, Cluster) to serve waiters afterwards. @default 2 seconds
   */
  readonly outageMs?: number | undefined
  /**
   * Records waiting and holding times, losses, and a span for each acquisition. From `openTelemetry()` of
   * `concordat/core/opentelemetry`. @default none
   */
  readonly telemetry?: Telemetry | undefined
}

/** Names of these options, for the options of a factory. */
export const LOCKS_NAMES: Readonly<Record<keyof LocksOptions, true>> = {
  ...RUNTIME_NAMES,
  owner: true,
  stallMarginMs: true,
  heartbeatMs: true,
  outageMs: true,
  telemetry: true,
}

export interface ResolvedLocks {
  readonly owner: string
  readonly stallMarginMs: number | undefined
  readonly heartbeatMs: number
  readonly outageMs: number
  readonly logger: Logger
  readonly telemetry: Telemetry | undefined
  readonly clock: Clock
}

/** Applies the defaults and checks. @throws TypeError / RangeError naming the option */
export function resolveLocks(options: LocksOptions): ResolvedLocks {
  return {
    ...resolveRuntime('locks', options),
    owner: requireOwner('locks.owner', options.owner ?? `${hostname()}:${process.pid}`),
    stallMarginMs:
      options.stallMarginMs === undefined ? undefined : requireInteger('locks.stallMarginMs', options.stallMarginMs, 0),
    heartbeatMs: requireInteger('locks.heartbeatMs', options.heartbeatMs ?? 1 * SECOND, 10, HOUR),
    outageMs: requireInteger('locks.outageMs', options.outageMs ?? 2 * SECOND, 0),
    telemetry: checkTelemetry('locks.telemetry', options.telemetry),
  }
}

export interface ResolvedAcquire {
  readonly timing: LeaseTiming
  readonly waitMs: number
  readonly maxHoldMs: number
  readonly tokenAbove: number
  readonly terms: ClaimTerms
  readonly signal: AbortSignal | undefined
}

const DEFAULT_TTL_MS = 10 * SECOND
const DEFAULT_WAIT_MS = 10 * SECOND
const MIN_TTL_MS = 100
/** A thousand years, the maximum that every store can add to its clock: Redis would mistake a later end for a token. */
const MAX_TTL_MS = 31_536_000_000_000
/** Leaves room for ~2^50 µs above any time until 2200, and is far from the limit of exact numbers. */
const MAX_TOKEN = 2 ** 52

const ACQUIRE_NAMES = optionNames<AcquireOptions>({
  ttlMs: true,
  waitMs: true,
  maxHoldMs: true,
  tokenAbove: true,
  owner: true,
  signal: true,
  mode: true,
  permits: true,
  lockDelayMs: true,
})

/** @throws TypeError */
export function requireKey(key: string): string {
  requireText('lock key', key)
  if (key.startsWith('}')) throw invalidOption('lock key', key, 'a key that does not begin with "}"')
  // Two malformed texts could have the same bytes in the store, but be different keys here.
  return requireWellFormed('lock key', key)
}

/** Stores write it in URI encoding, which half a surrogate pair does not have. */
export function requireOwner(path: string, owner: string): string {
  return requireWellFormed(path, requireText(path, owner))
}

/** Checks the name of a fenced resource, because two malformed names could be equal in the store. @throws TypeError */
export function requireResourceName(resource: string): string {
  return requireWellFormed('fence resource', requireText('fence resource', resource))
}

function requireWellFormed(path: string, text: string): string {
  if (text.isWellFormed()) return text
  throw invalidOption(path, text, 'well-formed text: half of a surrogate pair is none')
}

/**
 * @param latelyMs recent delays
 * @throws TypeError / RangeError naming the key and the option
 */
export function resolveAcquire(
  key: string,
  options: AcquireOptions,
  locks: ResolvedLocks,
  latelyMs: number,
): ResolvedAcquire {
  requireKey(key)
  const path = `lock("${key}")`
  refuseUnknown(path, options, ACQUIRE_NAMES)
  const ttlMs = Math.min(requireInteger(`${path}.ttlMs`, options.ttlMs ?? DEFAULT_TTL_MS, MIN_TTL_MS), MAX_TTL_MS)
  const timing = leaseTiming(ttlMs, locks.stallMarginMs ?? defaultStallMarginMs(ttlMs, latelyMs))
  if (timing.marginMs > ttlMs / 2) {
    throw invalidOption(`${path}.ttlMs`, ttlMs, `at least twice the margin of ${Math.ceil(timing.marginMs)} ms`)
  }
  return {
    timing,
    waitMs: requireDuration(`${path}.waitMs`, options.waitMs ?? DEFAULT_WAIT_MS),
    maxHoldMs: requireDuration(`${path}.maxHoldMs`, options.maxHoldMs ?? Number.POSITIVE_INFINITY),
    tokenAbove: requireInteger(`${path}.tokenAbove`, options.tokenAbove ?? 0, 0, MAX_TOKEN),
    terms: resolveTerms(path, options, locks),
    signal: resolveSignal(`${path}.signal`, options.signal),
  }
}

const FORCE_NAMES = optionNames<ForceOptions & HoldersSeen>({ by: true, reason: true, tokens: true })

/** @throws TypeError without `by` or `reason`; TypeError / RangeError naming the invalid token */
export function resolveForce(key: string, options: ForceOptions & HoldersSeen): [ForceOptions, HoldersSeen] {
  const path = `forceRelease("${key}")`
  refuseUnknown(path, options, FORCE_NAMES)
  const force = { by: requireText(`${path}.by`, options.by), reason: requireText(`${path}.reason`, options.reason) }
  return [force, { tokens: requireTokens(path, options) }]
}

/** @throws TypeError / RangeError naming the invalid token */
function requireTokens(path: string, { tokens }: HoldersSeen): readonly number[] | undefined {
  if (tokens === undefined) return undefined
  if (!Array.isArray(tokens)) throw invalidOption(`${path}.tokens`, tokens, 'a list of tokens')
  return tokens.map((token: number, n) => requireInteger(`${path}.tokens[${n}]`, token, 0))
}

const LIST_NAMES = optionNames<ListOptions>({ limit: true, prefix: true, signal: true })
const DEFAULT_LIST_LIMIT = 100
const MAX_LIST_LIMIT = 10_000

/** @throws TypeError / RangeError naming the option */
export function resolveList(options: ListOptions): ListRequest {
  refuseUnknown('list', options, LIST_NAMES)
  const { limit = DEFAULT_LIST_LIMIT, prefix, signal } = options
  signal?.throwIfAborted()
  return {
    limit: requireInteger('list.limit', limit, 1, MAX_LIST_LIMIT),
    prefix: prefix === undefined ? '' : requireText('list.prefix', prefix),
    signal,
  }
}

const MODES: readonly LockMode[] = ['exclusive', 'shared']
/** Scripts count exactly up to it, and it exceeds any real number of holders. */
const MAX_PERMITS = 1_000_000

function resolveTerms(path: string, options: AcquireOptions, locks: ResolvedLocks): ClaimTerms {
  const { mode = 'exclusive', permits } = options
  if (!MODES.includes(mode)) throw invalidOption(`${path}.mode`, mode, `one of ${MODES.join(', ')}`)
  if (permits !== undefined && options.mode !== undefined) {
    throw invalidOption(`${path}.mode`, mode, 'no mode beside permits: a semaphore has one of its own')
  }
  return {
    owner: options.owner === undefined ? locks.owner : requireOwner(`${path}.owner`, options.owner),
    mode: permits === undefined ? mode : 'shared',
    limit: permits === undefined ? UNLIMITED[mode] : requireInteger(`${path}.permits`, permits, 1, MAX_PERMITS),
    lockDelayMs: requireInteger(`${path}.lockDelayMs`, options.lockDelayMs ?? 0, 0, 1 * DAY),
  }
}

function resolveSignal(path: string, signal: AbortSignal | undefined): AbortSignal | undefined {
  if (signal === undefined || hasMethods(signal, ['throwIfAborted', 'addEventListener'])) return signal
  throw wrongKind(path, signal, 'an AbortSignal')
}

const UNLIMITED: Readonly<Record<LockMode, number>> = { exclusive: 1, shared: Number.POSITIVE_INFINITY }

function requireDuration(path: string, value: number): number {
  return value === Number.POSITIVE_INFINITY ? value : requireInteger(path, value, 0)
}
