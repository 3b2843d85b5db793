import { hostname } from 'node:os'
import type { Backoff } from '../../core/backoff.ts'
import { type Clock, DAY, MINUTE, SECOND } from '../../core/clock.ts'
import { invalidOption, requireInteger, requireText } from '../../core/errors.ts'
import { newId } from '../../core/ids.ts'
import type { Logger } from '../../core/logger.ts'
import { hasMethods, optionNames, refuseUnknown, requireFunction, wrongKind } from '../../core/option-checks.ts'
import { RUNTIME_NAMES, type RuntimeOptions, resolveRuntime } from '../../core/runtime-options.ts'
import { checkTelemetry, type Telemetry } from '../../core/telemetry-interface.ts'
import type { Locks } from '../../locks/lock.ts'
import { requireOwner } from '../../locks/options.ts'
import type { RevokedReason, Term } from './election.ts'
import { electionKey } from './leader-lookup.ts'

/** Options of `createElection`. */
export interface ElectionOptions extends RuntimeOptions {
  /** Locks that hold the lease. The caller closes them, after the election. */
  readonly locks: Locks
  /** Name of the role, e.g. `settlement`. All instances with the same role and the same lock store compete. */
  readonly role: string
  /** Name of this candidate for `leader()` and logs; unique. @default `<host name>:<process id>:<random>` */
  readonly instance?: string | undefined
  /**
   * Time within which a crashed leader is replaced. At least 1 second unless `allowShortTtl`: below that, normal events (a
   * garbage collection, a slow answer of the store) end terms. @default 10 seconds
   */
  readonly ttlMs?: number | undefined
  /** Allows a `ttlMs` as short as 100, for tests and for measured stalls. @default false */
  readonly allowShortTtl?: boolean | undefined
  /**
   * After a leader that did not hand over (crashed, lost its lease) the role stays vacant for this much longer than its ttl, for
   * effects that cannot be fenced. @default 0
   */
  readonly lockDelayMs?: number | undefined
  /**
   * Priority: a candidate with a delay does not queue while there is a leader, and campaigns after this long without one. So
   * candidates without a delay lead when there are any. It deposes no leader. Costs one check per second. @default 0
   */
  readonly campaignDelayMs?: number | undefined
  /**
   * Called once per term. It may run as long as the term, because renewals do not wait for it. Watch `term.signal`, and return
   * when it aborts. If it throws, the term ends. `currentLease()` returns the lease of the role inside it.
   */
  readonly onGranted?: ((term: Term) => void | Promise<void>) | undefined
  /** Called when a term ended, after its signal. Its errors are logged. */
  readonly onRevoked?: ((term: Term, reason: RevokedReason) => void | Promise<void>) | undefined
  /**
   * How long a voluntary hand-over waits for the handlers before it gives the lease back. A handler that is still running then
   * prevents this instance, and only this one, from campaigning. @default 10 seconds
   */
  readonly stopGraceMs?: number | undefined
  /** Pause between attempts while the store is unavailable. @default 1 second */
  readonly retryMs?: number | undefined
  /**
   * How long this instance stays out of the queue after a term that ended as `failed`, so that another one gets its turn; doubled
   * for each consecutive failure, up to a minute. @default 1 second
   */
  readonly coolDownMs?: number | undefined
  /**
   * Records the leader, the term, and the ends of terms. From `openTelemetry()` of `concordat/core/opentelemetry`. @default none
   */
  readonly telemetry?: Telemetry | undefined
}

export type ResolvedElection = Readonly<
  Required<Pick<ElectionOptions, 'locks' | 'role'>> & {
    key: string
    instance: string
    ttlMs: number
    lockDelayMs: number
    campaignDelayMs: number
    coolDown: Backoff
    stopGraceMs: number
    retryMs: number
    logger: Logger
    telemetry: Telemetry | undefined
    clock: Clock
    onGranted: NonNullable<ElectionOptions['onGranted']>
    onRevoked: NonNullable<ElectionOptions['onRevoked']>
  }
>

const NAMES = optionNames<ElectionOptions>({
  locks: true,
  role: true,
  instance: true,
  ttlMs: true,
  allowShortTtl: true,
  lockDelayMs: true,
  campaignDelayMs: true,
  coolDownMs: true,
  onGranted: true,
  onRevoked: true,
  stopGraceMs: true,
  retryMs: true,
  ...RUNTIME_NAMES,
  telemetry: true,
})

const ignore = (): void => {}

/** Applies the defaults and checks. @throws TypeError / RangeError naming the option */
export function resolveElection(options: ElectionOptions): ResolvedElection {
  refuseUnknown('createElection', options, NAMES)
  if (!hasMethods(options.locks, ['acquire', 'inspect'])) {
    throw wrongKind('createElection.locks', options.locks, 'locks such as redisLocks({ url }) or memoryLocks()')
  }
  const role = requireText('election.role', options.role)
  const path = `election("${role}")`
  return {
    locks: options.locks,
    role,
    key: electionKey(role),
    instance: requireOwner(`${path}.instance`, options.instance ?? `${hostname()}:${process.pid}:${newId().slice(-8)}`),
    ttlMs: resolveTtl(`${path}.ttlMs`, options),
    lockDelayMs: requireInteger(`${path}.lockDelayMs`, options.lockDelayMs ?? 0, 0, 1 * DAY),
    campaignDelayMs: requireInteger(`${path}.campaignDelayMs`, options.campaignDelayMs ?? 0, 0),
    coolDown: resolveCoolDown(`${path}.coolDownMs`, options.coolDownMs),
    stopGraceMs: requireInteger(`${path}.stopGraceMs`, options.stopGraceMs ?? 10 * SECOND, 0),
    retryMs: requireInteger(`${path}.retryMs`, options.retryMs ?? 1 * SECOND, 1),
    ...resolveRuntime(path, options),
    telemetry: checkTelemetry(`${path}.telemetry`, options.telemetry),
    onGranted: requireFunction(`${path}.onGranted`, options.onGranted ?? ignore),
    onRevoked: requireFunction(`${path}.onRevoked`, options.onRevoked ?? ignore),
  }
}

const MIN_TTL_MS = 1 * SECOND
const MIN_SHORT_TTL_MS = 100
const DEFAULT_TTL_MS = 10 * SECOND
const DEFAULT_COOL_DOWN_MS = 1 * SECOND
const MAX_COOL_DOWN_MS = 1 * MINUTE

function resolveTtl(path: string, { ttlMs = DEFAULT_TTL_MS, allowShortTtl }: ElectionOptions): number {
  requireInteger(path, ttlMs, MIN_SHORT_TTL_MS)
  if (ttlMs >= MIN_TTL_MS || allowShortTtl === true) return ttlMs
  throw invalidOption(path, ttlMs, `at least ${MIN_TTL_MS}, or allowShortTtl: true`)
}

function resolveCoolDown(path: string, coolDownMs: number = DEFAULT_COOL_DOWN_MS): Backoff {
  const initialMs = requireInteger(path, coolDownMs, 0)
  return { initialMs, factor: 2, maxMs: Math.max(initialMs, MAX_COOL_DOWN_MS), jitter: 0.2 }
}
