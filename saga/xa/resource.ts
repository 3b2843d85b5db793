/**
 * Contract of a second database on which an XA participant prepares, such as MariaDB (`@concordat/mysql`). The commands and their
 * replies stay in the participant's PostgreSQL; the effect is in the resource, together with one row, the gate, written in the
 * same transaction. Each saga step has one gate, named by `whose`:
 *
 * - at most one transaction that has passed the gate is open or prepared at a time;
 * - a process that finds the gate free knows that no transaction of the step is open or prepared;
 * - the gate contains the name of the committed transaction.
 */

/** A call of the handler that is about to start. */
export interface XaCall {
  /** Name of the transaction: at most 128 ASCII characters, begins with `whose`. */
  readonly gid: string
  /** Name of the gate: `concordat:<hash>:`, the same for each call of one saga step. */
  readonly whose: string
  /** `<saga>/<id>/<step>`, for display. */
  readonly key: string
  /** How long a statement waits for a row. */
  readonly lockTimeoutMs: number
  /**
   * Longest pause between two statements, in ms. After it the server ends the transaction of a frozen or disconnected process.
   */
  readonly idleMs: number
  /** Called once, while the gate is locked. False if the call has been abandoned. */
  isCurrent(): Promise<boolean>
}

/**
 * `in`: prepared. `busy`: another call holds the gate, or this call was abandoned. `committed`: an administrator committed it
 * before.
 */
export type XaPassage<T> = { readonly entered: 'in'; readonly result: T } | { readonly entered: 'busy' | 'committed' }

/** State of a saga step's gate. */
export interface GateState {
  /** Unlocked: no transaction of the step is open or prepared. */
  readonly isFree: boolean
  /** Names of prepared transactions; usually at most one. */
  readonly prepared: readonly string[]
}

/** A prepared transaction. */
export interface PreparedTransaction {
  /** Name of the transaction. Names of this package begin with `concordat:` and end with the key of the saga step. */
  readonly gid: string
  /** Time since it was prepared, by the server's clock. */
  readonly ageMs: number
  /**
   * `<saga>/<id>/<step>` for transactions of this package, with `~` in place of characters that a name cannot contain;
   * `undefined` for others.
   */
  readonly key: string | undefined
  /** Name of the resource, such as `MariaDB`; absent for the participant's PostgreSQL. */
  readonly on?: string | undefined
}

/** A database in which an `xaParticipant` prepares, and commits or rolls back from any connection. Implemented by an adapter. */
export interface XaResource<Tx = unknown> {
  /** Name in messages: `MariaDB "shop"`. */
  readonly name: string
  /** Checks the database. @throws `core.sql_cannot_prepare`, `core.tables_missing` with the remedy */
  ready(): Promise<void>
  /** Identifies the database among those of its server. */
  place(): Promise<string>
  /** Passes the gate, calls `work` and prepares, on one connection. If `work` rejects, everything is rolled back. */
  prepare<T>(call: XaCall, work: (tx: Tx) => Promise<T>): Promise<XaPassage<T>>
  look(whose: string): Promise<GateState>
  /** Name of the committed transaction; `null` if there is none. */
  committed(whose: string): Promise<string | null>
  /**
   * Commits or rolls back a prepared transaction. `gone`: no transaction has this name. `busy`: it cannot be ended yet, try
   * again.
   */
  end(verb: 'COMMIT' | 'ROLLBACK', gid: string): Promise<'ended' | 'gone' | 'busy'>
  /** True if a statement failed because another transaction holds its row. */
  isHeld(error: unknown): boolean
  /** Lists prepared transactions of this package older than the limit, oldest first, at most twenty. */
  old(olderThanMs: number): Promise<readonly PreparedTransaction[]>
}
