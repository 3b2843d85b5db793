// oxlint-disable no-restricted-imports -- a small part with rules of its own, not reachable from outside
import type { Clock, SqlClient, SqlTransaction } from 'concordat/core'
import { SharedTransactions, type ShareHost } from '../../core/sharing/shared-transactions.ts'

/** Clock that moves only in a test, so that work takes no time and may be shared. */
export class StillClock implements Clock {
  #ms = 0
  #timers: Array<{ readonly at: number; readonly callback: () => void }> = []

  now(): number {
    return this.#ms
  }

  monotonic(): number {
    return this.#ms
  }

  sleep(): Promise<void> {
    return Promise.reject(new Error('nothing sleeps here'))
  }

  setTimer(durationMs: number, callback: () => void): () => void {
    const timer = { at: this.#ms + durationMs, callback }
    this.#timers.push(timer)
    return () => void (this.#timers = this.#timers.filter((other) => other !== timer))
  }

  move(ms: number): void {
    this.#ms += ms
    const due = this.#timers.filter(({ at }) => at <= this.#ms)
    this.#timers = this.#timers.filter(({ at }) => at > this.#ms)
    for (const { callback } of due) callback()
  }
}

export type Work = (tx: SqlTransaction) => Promise<void>

export interface Sharing<Time extends Clock = StillClock> {
  readonly clock: Time
  /** Calls `work` wherever it is to be called. */
  readonly run: (work: Work) => Promise<void>
}

/** Ready to share: it is known that work is quick. */
export async function sharingOn(sql: SqlClient): Promise<Sharing>
export async function sharingOn<Time extends Clock>(
  sql: SqlClient,
  clock: Time,
  host?: ShareHost<undefined>,
): Promise<Sharing<Time>>
export async function sharingOn(
  sql: SqlClient,
  clock: Clock = new StillClock(),
  host?: ShareHost<undefined>,
): Promise<Sharing<Clock>> {
  const shared = new SharedTransactions<undefined>(sql, clock, host)
  const run = (work: Work): Promise<void> =>
    shared.run(undefined, (timed) => sql.transaction((tx) => timed(() => work(tx))), work)
  await run(async () => {})
  return { clock, run }
}

/** Id of the transaction. */
export async function xidOf(tx: SqlTransaction): Promise<string> {
  const { rows } = await tx.query<{ xid: string }>('SELECT pg_current_xact_id()::text AS xid')
  return rows[0]?.xid ?? ''
}
