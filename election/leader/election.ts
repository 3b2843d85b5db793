/**
 * THE CONTRACT: at most one instance leads a role, for one term at a time.
 *
 * A leader is the holder of a lease lock; its term is the lease's fencing token.
 *
 *     idle -> campaigning -> leading -> stepping_down -> campaigning ...       any -> closed
 *
 * Clocks: a leader believes until its lease's deadline minus a margin, counted on its own clocks; a successor begins only
 * after the store let the lease go. What is not guaranteed: a leader that was paused can still act once before it
 * notices. Give `term.term` to whatever stores the effect (`createFence`); see `docs/coordination/leaders.md`.
 */
export interface Election extends AsyncDisposable {
  /**
   * Begins to campaign. Returns at once; a store that is away is tried again forever. Keeps the process alive until
   * closed. Idempotent until then. @throws `election.closed`
   */
  start(): void
  /** The term this instance leads at this moment, by the clocks; `undefined` when it does not. Synchronous. */
  current(): Term | undefined
  /** This instance's knowledge of itself. Cheap, no I/O. */
  status(): ElectionStatus
  /** The leader, as the store sees it; `undefined` between two terms. Needs no candidacy and no `start`. */
  leader(): Promise<LeaderInfo | undefined>
  /** Told of this instance's own transitions, in order; what it throws is logged. Returns the way to stop. */
  subscribe(listener: (event: ElectionEvent) => void): () => void
  /**
   * Another part of the process that works while it leads: `work` is called once in each term, now if one is running,
   * beside `onGranted` and under the same rules. What it throws ends the term (`failed`), and a hand-over awaits it.
   * Returns the way to have no more of it; what runs goes on until its term ends.
   */
  whileLeading(work: (term: Term) => void | Promise<void>): () => void
  /**
   * Hands over if it leads: ends the term, awaits the handlers (at most `stopGraceMs`), gives the lease back and gets in
   * line again, behind all who wait, after `stayOutMs` (0). Resolves when the lease is given back; called from inside a
   * handler of the term at once, for the hand-over waits for that handler.
   */
  resign(options?: { readonly stayOutMs?: number | undefined }): Promise<void>
  health(): ElectionHealth
  /**
   * Resigns and stops campaigning. The next candidate leads within milliseconds. Call it on SIGTERM, before the parts
   * that the leader works with (`closeOnSignals` does it in this order). From inside a handler it resolves at once, as
   * `resign`. Idempotent, never rejects.
   */
  close(): Promise<void>
}

/** A term of leadership. Each has objects of its own: nothing of a term holds in the next. */
export interface Term {
  readonly role: string
  readonly instance: string
  /** Strictly rising per role: the fencing token. */
  readonly term: number
  /** Key and token of the lease, as `leaseHeaders` takes them: `election/<role>`, and the term again. */
  readonly key: string
  readonly token: number
  /** Aborts when the term ends, before the lease is given back or lapses. Best effort after an event-loop stall. */
  readonly signal: AbortSignal
  /** Until when this instance may believe that it leads, epoch ms; moves with each renewal. */
  validUntil(): number
  /** Synchronous, by the clocks. @throws `election.term_over` when it is over, `locks.lost` when less than `minRemainingMs` are left */
  assertValid(minRemainingMs?: number): void
}

/**
 * Why a term ended: `resigned`, `closed` by us; `lost` because no renewal was confirmed in time or the store forgot;
 * `failed` because `onGranted`, or work given to `whileLeading`, threw.
 */
export type RevokedReason = 'resigned' | 'closed' | 'lost' | 'failed'

/** A term of this candidate began, or ended. Told once each, in order. */
export type ElectionEvent =
  | { readonly type: 'granted'; readonly role: string; readonly term: number }
  | { readonly type: 'revoked'; readonly role: string; readonly term: number; readonly reason: RevokedReason }

/**
 * `idle` before `start`, `campaigning` in the line, `leading` in a term, `stepping_down` while the handlers of an ended
 * term return, `closed`.
 */
export type ElectionState = 'idle' | 'campaigning' | 'leading' | 'stepping_down' | 'closed'

/** Where this candidate stands at this moment. */
export interface ElectionStatus {
  readonly role: string
  readonly instance: string
  readonly state: ElectionState
  /** The term that is led or being ended. */
  readonly term: number | undefined
  /** Terms this instance was granted since `start`. */
  readonly terms: number
  /** Why campaigning does not work at the moment. */
  readonly error: string | undefined
}

/** The leader, as the store sees it; already outdated when you read it. */
export interface LeaderInfo {
  readonly instance: string
  readonly term: number
  readonly expiresInMs: number
}

/** The state of a candidate, without I/O. */
export interface ElectionHealth {
  /**
   * `down`: the store cannot be reached; a term has failed and this instance stays out of the line for a while; a handler
   * of an ended term has not returned and blocks the next; or a term is over by the clocks and the event loop has been too
   * late to end it.
   */
  readonly status: 'up' | 'down' | 'idle' | 'closed'
  readonly detail?: string | undefined
}
