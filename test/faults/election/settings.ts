/** How the candidates of an episode campaign. */
export interface ElectionSettings {
  /** Whether a leader asks `assertValid` before a write. */
  readonly asks: 'always' | 'never' | 'sometimes'
  /** Of waiting candidates. */
  readonly heartbeatMs: number
}

export const CLUSTER = 'faults'
/** Of members. Silence of three makes suspect, of ten dead. */
export const BEAT_MS = 150
export const DEAD_AFTER_MS = 10 * BEAT_MS
