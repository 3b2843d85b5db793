export type Mode = 'exclusive' | 'readers and writers' | 'permits'

/** How the workers of an episode use the lock. */
export interface LockSettings {
  readonly mode: Mode
  /** Whether it asks `assertValid` before a write. One that does not has only the fence. */
  readonly asks: 'always' | 'never' | 'sometimes'
  readonly heartbeatMs: number
  readonly restartGraceMs: number
  /** How long a guarded transaction takes at least. */
  readonly thinksMs: number
}

export const WAIT_MS = 6_000
export const PERMITS = 2
