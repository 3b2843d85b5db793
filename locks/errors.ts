import { ConcordatError } from '../core/errors.ts'

/** Another owner holds the lock, and the caller did not want to wait. */
export class LockBusy extends ConcordatError {
  readonly code = 'locks.busy' as const
  readonly retryable = true as const
  readonly key: string
  /** The holder, if the store knew. */
  readonly owner: string | undefined
  /** Time after which the lock frees itself unless it is renewed. */
  readonly retryAfterMs: number

  constructor(key: string, owner: string | undefined, retryAfterMs: number) {
    super(
      `lock "${key}" is held by ${owner ?? 'another holder'} (for ${retryAfterMs} ms more unless renewed): pass waitMs to wait for it`,
    )
    this.key = key
    this.owner = owner
    this.retryAfterMs = retryAfterMs
  }
}

/** `waitMs` passed without a grant. */
export class LockTimeout extends ConcordatError {
  readonly code = 'locks.timeout' as const
  readonly retryable = true as const
  readonly key: string
  readonly waitMs: number
  readonly owner: string | undefined
  /** Place in the line at the last try, 0 = next. */
  readonly position: number | undefined

  constructor(key: string, waitMs: number, owner: string | undefined, position: number | undefined) {
    const place = position === undefined ? '' : `, ${position} ahead in the line`
    super(
      `lock "${key}" was not free within ${waitMs} ms (held by ${owner ?? 'another holder'}${place}): wait longer, hold it shorter, or split the key`,
    )
    this.key = key
    this.waitMs = waitMs
    this.owner = owner
    this.position = position
  }
}

/**
 * Reason for which a lease ended without a clean release.
 * - `expired`: no renewal was confirmed in time (store unavailable, event loop blocked, machine suspended).
 * - `displaced`: the store says that the lock is not ours: deleted, flushed, or lost in a restart or failover.
 * - `forced`: an operator took it away with `forceRelease`; the message has the person and the reason.
 * - `max_hold`: held longer than `maxHoldMs`.
 * - `closed`: `locks.close()` ended it.
 * - `released`: its own holder released it, and then used it.
 */
export type LockLostReason = 'expired' | 'displaced' | 'forced' | 'max_hold' | 'closed' | 'released'

const REMEDY: Readonly<Record<LockLostReason, string>> = {
  expired: 'no renewal was confirmed in time. Acquire again and repeat the work; the fence refuses what came late',
  displaced: 'the store does not know it any more. Acquire again and repeat the work; the fence refuses what came late',
  forced: 'it was released by force. Stop, and find out why before you acquire again',
  max_hold: 'it was held longer than maxHoldMs. Split the work, or raise maxHoldMs',
  closed: 'the locks were closed while it was held. Finish the work before close()',
  released: 'it was released before. Do not use a lease after its release',
}

/** The lease is over: stop, do not write. */
export class LockLost extends ConcordatError {
  readonly code = 'locks.lost' as const
  readonly retryable = true as const
  readonly key: string
  readonly token: number
  readonly reason: LockLostReason

  /** @param why `detail` instead of what the reason says by itself; the error that led to it */
  constructor(
    key: string,
    token: number,
    reason: LockLostReason,
    { detail, cause }: { readonly detail?: string | undefined; readonly cause?: unknown } = {},
  ) {
    const text = `lock "${key}" (token ${token}) is lost: ${detail ?? REMEDY[reason]}`
    super(text, cause === undefined ? undefined : { cause })
    this.key = key
    this.token = token
    this.reason = reason
  }
}

/** The store cannot be reached, does not answer in time, or is not ready. Nothing was granted to the caller. */
export class LockStoreUnavailable extends ConcordatError {
  readonly code = 'locks.store_unavailable' as const
  readonly retryable = true as const
  readonly store: string
  /** `unknown`: the step may have happened, or may yet happen. */
  readonly outcome: 'not_done' | 'unknown'

  constructor(store: string, outcome: 'not_done' | 'unknown', detail: string, cause?: unknown) {
    super(
      `lock store ${store} is unavailable: ${detail}. Check that it is up and reachable; it is tried again in the background`,
      cause === undefined ? undefined : { cause },
    )
    this.store = store
    this.outcome = outcome
  }
}

/** The store answered and will answer the same again: wrong type under our key, missing permission, script error. */
export class LockStoreRefused extends ConcordatError {
  readonly code = 'locks.store_refused' as const
  readonly retryable = false as const
  readonly store: string

  constructor(store: string, cause: Error) {
    super(`lock store ${store} refused: ${cause.message}. Check the prefix, the permissions and the server version`, {
      cause,
    })
    this.store = store
  }
}

/**
 * A newer holder has written to this resource: this token comes too late, now and forever. Roll back, and repeat the
 * work under a new lease, for which the error counts as retryable.
 */
export class FenceRejected extends ConcordatError {
  readonly code = 'locks.fence_rejected' as const
  readonly retryable = true as const
  readonly resource: string
  readonly token: number
  /** The highest token the resource has seen; pass it as `tokenAbove` if the lock store went back in time. */
  readonly lastToken: number

  constructor(resource: string, token: number, lastToken: number) {
    super(
      `fence of "${resource}" refuses token ${token}: ${lastToken} was here. The lock was lost meanwhile; acquire again and repeat the work`,
    )
    this.resource = resource
    this.token = token
    this.lastToken = lastToken
  }
}

/**
 * The fence let the commands through and one of them failed; Redis does not roll back, so `applied` of them, those before
 * it, took effect. With `applied` 0 nothing did but the token, which is remembered.
 */
export class FencedWriteFailed extends ConcordatError {
  readonly code = 'locks.fenced_write_failed' as const
  readonly retryable = false as const
  readonly resource: string
  /** The command that failed, e.g. `HSET`. */
  readonly command: string
  readonly applied: number

  constructor(resource: string, command: string, applied: number, cause: Error) {
    const before = applied === 0 ? 'nothing was written' : `the ${applied} before it took effect and stay`
    super(
      `fence of "${resource}": ${command} failed: ${cause.message}; ${before}. Fix the command (in a cluster every key needs the hash tag of the resource), then repeat what is missing`,
      { cause },
    )
    this.resource = resource
    this.command = command
    this.applied = applied
  }
}

/** `acquire` of a key inside `using` of the same key, in whatever modes: it could wait for itself. */
export class LockReentered extends ConcordatError {
  readonly code = 'locks.reentered' as const
  readonly retryable = false as const
  readonly key: string

  constructor(key: string) {
    super(
      `lock "${key}" is already held by this call chain, which could wait for itself: pass the lease on instead, or take the stronger mode from the start`,
    )
    this.key = key
  }
}

/** The store cannot do this: a mode, a lock delay, a forced release. */
export class LockUnsupported extends ConcordatError {
  readonly code = 'locks.unsupported' as const
  readonly retryable = false as const
  readonly store: string
  readonly feature: string

  constructor(store: string, feature: string, why: string) {
    super(`lock store ${store} has no ${feature}: ${why}. Use a store that has it (redisLocks, memoryLocks)`)
    this.store = store
    this.feature = feature
  }
}

/** Used after `close()`, or waiting when it came. */
export class LocksClosed extends ConcordatError {
  readonly code = 'locks.closed' as const
  readonly retryable = false as const

  constructor() {
    super(
      'locks: expected open locks, got locks that are closed: acquire nothing after close(), or make others, e.g. redisLocks({ url })',
    )
  }
}

/** The lock headers of a message are not what `leaseHeaders` writes: damaged, or forged. The same message will not do better. */
export class LeaseHeadersInvalid extends ConcordatError {
  readonly code = 'locks.lease_headers' as const
  readonly retryable = false as const
  readonly header: string

  /** @param value rendered by `show` */
  constructor(header: string, value: string, expected: string) {
    super(
      `message header ${header}: expected ${expected}, got ${value}. Send what leaseHeaders() returns, both headers or none`,
    )
    this.header = header
  }
}
