export type Mode = 'exclusive' | 'readers and writers' | 'permits'

/** Settings of the workers' use of the lock in an episode. */
export interface LockSettings {
  readonly mode: Mode
  /** Whether a worker calls `assertValid` before a write. Without it, only the fence protects. */
  readonly asks: 'always' | 'never' | 'sometimes'
  readonly heartbeatMs: number
  readonly restartGraceMs: number
  /** Minimum time of a guarded transaction. */
  readonly thinksMs: number
}

export const WAIT_MS = 6_000
export const PERMITS = 2
