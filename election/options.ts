import { hostname } from 'node:os'
import { type Clock, SECOND, systemClock } from '../core/clock.ts'
import { requireInteger, requireText } from '../core/errors.ts'
import { newId } from '../core/ids.ts'
import { type Logger, silentLogger } from '../core/logger.ts'
import { hasMethods, optionNames, refuseUnknown, wrongKind } from '../core/options.ts'
import type { Locks } from '../locks/lock.ts'
import type { RevokedReason, Term } from './election.ts'

export interface ElectionOptions {
  /** Where the lease is held. Closing it stays with the caller, after the election. */
  readonly locks: Locks
  /** What is led, e.g. `settlement`. All instances with the same role and the same lock store compete. */
  readonly role: string
  /** This candidate, for `leader()` and logs; unique. @default `<host name>:<process id>:<random>` */
  readonly instance?: string | undefined
  /** A leader that crashed is replaced within this. @default 10 seconds */
  readonly ttlMs?: number | undefined
  /**
   * Called once per term, not awaited by the renewal: it may run as long as the term. Watch `term.signal`, and return
   * when it aborts. If it throws, the term ends.
   */
  readonly onGranted?: ((term: Term) => void | Promise<void>) | undefined
  /** Called when a term ended, after its signal. What it throws is logged. */
  readonly onRevoked?: ((term: Term, reason: RevokedReason) => void | Promise<void>) | undefined
  /**
   * How long a voluntary hand-over waits for the handlers before it gives the lease back anyway. A handler that is still
   * running then keeps this instance, and only this one, from campaigning. @default 10 seconds
   */
  readonly stopGraceMs?: number | undefined
  /** Pause after a term whose `onGranted` threw, and between attempts while the store is away. @default 1 second */
  readonly retryMs?: number | undefined
  /** @default silentLogger */
  readonly logger?: Logger | undefined
  /** @default systemClock */
  readonly clock?: Clock | undefined
}

export type ResolvedElection = Readonly<
  Required<Pick<ElectionOptions, 'locks' | 'role'>> & {
    key: string
    instance: string
    ttlMs: number
    stopGraceMs: number
    retryMs: number
    logger: Logger
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
  onGranted: true,
  onRevoked: true,
  stopGraceMs: true,
  retryMs: true,
  logger: true,
  clock: true,
})

const ignore = (): void => {}

/** Merges with the defaults and checks. @throws TypeError / RangeError naming the option */
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
    key: `election/${role}`,
    instance: requireText(`${path}.instance`, options.instance ?? `${hostname()}:${process.pid}:${newId().slice(-8)}`),
    ttlMs: requireInteger(`${path}.ttlMs`, options.ttlMs ?? 10 * SECOND, 100),
    stopGraceMs: requireInteger(`${path}.stopGraceMs`, options.stopGraceMs ?? 10 * SECOND, 0),
    retryMs: requireInteger(`${path}.retryMs`, options.retryMs ?? 1 * SECOND, 1),
    logger: options.logger ?? silentLogger,
    clock: options.clock ?? systemClock,
    onGranted: options.onGranted ?? ignore,
    onRevoked: options.onRevoked ?? ignore,
  }
}
