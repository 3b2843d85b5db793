/** What writer and watchers share. */

/** Keeps all that is written in one go: a watcher that is behind gets each change and no snapshot. */
export const STATE = { name: 'watched', keepChanges: 10_000, maxPending: 10_000 } as const

/** What is written: when, on the shared clock, and whether it is the last. */
export interface Written {
  readonly at: number
  readonly last: boolean
}

export interface WatchReport {
  readonly did: 'ready' | 'done'
  /** For each watcher and each change, how long after it was written. */
  readonly delaysMs?: readonly number[]
  /** When its slowest watcher had the last change. */
  readonly endedAt?: number
}
