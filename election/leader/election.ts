/**
 * Contract: at most one instance leads a role, for one term at a time.
 *
 * A leader is the holder of a lease lock; its term is the lease's fencing token.
 *
 *     idle -> campaigning -> leading -> stepping_down -> campaigning ...       any -> closed
 *
 * Clocks: a leader relies on its lease until the deadline minus a margin, counted on its own clocks; a successor begins only
 * after the store released the lease. Not guaranteed: a paused leader can still act once before it notices. Pass `term.term` to
 * the system that stores the effect (`createFence`); see `docs/coordination/leaders.md`.
 */
export interface Election extends AsyncDisposable {
  /**
   * Starts to campaign. Returns at once; an unavailable store is retried forever. Keeps the process alive until closed.
   * Idempotent until then. @throws `election.closed`
   */
  start(): void
  /** Returns the term that this instance leads now, by the clocks; `undefined` when it does not lead. Synchronous. */
  current(): Term | undefined
  /** Returns the state of this instance. Cheap, no I/O. */
  status(): ElectionStatus
  /** Returns the leader, as the store sees it; `undefined` between two terms. Needs no candidacy and no `start`. */
  leader(): Promise<LeaderInfo | undefined>
  /** Calls `listener` for this instance's own transitions, in order; its errors are logged. Returns a function that stops it. */
  subscribe(listener: (event: ElectionEvent) => void): () => void
  /**
   * Adds work for the time of leadership: `work` is called once in each term, at once if one is running, beside `onGranted` and
   * under the same rules. An error that it throws ends the term (`failed`), and a hand-over awaits it. Returns a function that
   * removes it; a running call continues until its term ends.
   */
  whileLeading(work: (term: Term) => void | Promise<void>): () => void
  /**
   * Hands over if it leads: ends the term, awaits the handlers (at most `stopGraceMs`), gives the lease back and queues again,
   * behind all waiters, after `stayOutMs` (0). Resolves when the lease is given back; inside a handler of the term at once,
   * because the hand-over waits for that handler.
   */
  resign(options?: { readonly stayOutMs?: number | undefined }): Promise<void>
  health(): ElectionHealth
  /**
   * Resigns and stops campaigning. The next candidate leads within milliseconds. Call it on SIGTERM, before closing parts that
   * the leader uses (`closeOnSignals` does it in this order). Inside a handler it resolves at once, like `resign`. Idempotent,
   * never rejects.
   */
  close(): Promise<void>
}

/** A term of leadership. Each has its own objects, and none of them applies to the next term. */
export interface Term {
  readonly role: string
  readonly instance: string
  /** Strictly rising per role: the fencing token. */
  readonly term: number
  /** Key of the lease, which `leaseHeaders` uses together with the token: `election/<role>`. */
  readonly key: string
  readonly token: number
  /** Aborts when the term ends, before the lease is given back or expires. Best effort after a blocked event loop. */
  readonly signal: AbortSignal
  /** Time until which this instance may assume that it leads, epoch ms; moves with each renewal. */
  validUntil(): number
  /**
   * Synchronous check by the clocks. @throws `election.term_over` when it has ended, `locks.lost` when less than `minRemainingMs`
   * remain
   */
  assertValid(minRemainingMs?: number): void
}

/**
 * Reason why a term ended: `resigned` or `closed` by this instance; `lost` because no renewal was confirmed in time or the store
 * forgot the lease; `failed` because `onGranted`, or work of `whileLeading`, threw.
 */
export type RevokedReason = 'resigned' | 'closed' | 'lost' | 'failed'

/** Start or end of a term of this candidate. Each is reported once, in order. */
export type ElectionEvent =
  | { readonly type: 'granted'; readonly role: string; readonly term: number }
  | { readonly type: 'revoked'; readonly role: string; readonly term: number; readonly reason: RevokedReason }

/**
 * `idle` before `start`, `campaigning` in the queue, `leading` in a term, `stepping_down` while the handlers of an ended term
 * return, `closed`.
 */
export type ElectionState = 'idle' | 'campaigning' | 'leading' | 'stepping_down' | 'closed'

/** Current state of this candidate. */
export interface ElectionStatus {
  readonly role: string
  readonly instance: string
  readonly state: ElectionState
  /** The term that is led or being ended. */
  readonly term: number | undefined
  /** Number of terms granted to this instance since `start`. */
  readonly terms: number
  /** Reason why campaigning does not work at the moment. */
  readonly error: string | undefined
}

/** The leader, as the store sees it; outdated as soon as it is read. */
export interface LeaderInfo {
  readonly instance: string
  readonly term: number
  readonly expiresInMs: number
}

/** The state of a candidate, without I/O. */
export interface ElectionHealth {
  /**
   * `down`: the store cannot be reached; a term has failed and this instance stays out of the queue for a while; a handler of an
   * ended term has not returned and blocks the next; or a term has ended by the clocks and the event loop was too late to end it.
   */
  readonly status: 'up' | 'down' | 'idle' | 'closed'
  readonly detail?: string | undefined
}
