/** Settings of the candidates in an episode. */
export interface ElectionSettings {
  /** Whether a leader calls `assertValid` before a write. */
  readonly asks: 'always' | 'never' | 'sometimes'
  /** Heartbeat interval of waiting candidates. */
  readonly heartbeatMs: number
}

export const CLUSTER = 'faults'
/** Heartbeat interval of members. Three missed beats make a member suspect, ten dead. */
export const BEAT_MS = 150
export const DEAD_AFTER_MS = 10 * BEAT_MS
