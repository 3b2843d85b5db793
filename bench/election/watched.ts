/** Types and settings that the writer and the watchers share. */

/** Keeps all that is written in one go: a watcher that is behind gets each change and no snapshot. */
export const STATE = { name: 'watched', keepChanges: 10_000, maxPending: 10_000 } as const

/** Value that the writer writes: its time on the shared clock, and whether it is the last. */
export interface Written {
  readonly at: number
  readonly last: boolean
}

export interface WatchReport {
  readonly did: 'ready' | 'done'
  /** Delay after the write, for each watcher and each change. */
  readonly delaysMs?: readonly number[]
  /** Time at which the slowest watcher had received the last change. */
  readonly endedAt?: number
}
