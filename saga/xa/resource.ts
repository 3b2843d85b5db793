/**
 * The contract of a database that an XA participant prepares on beside its own, such as MariaDB (`@concordat/mysql`). The commands and
 * their answers stay in the participant's PostgreSQL; the effect is in the resource, together with one row, the gate, written in the same
 * transaction. Each saga step has one gate, named by `whose`:
 *
 * - at most one transaction that has passed the gate is open or prepared at a time;
 * - a process that finds it free knows that no transaction of the step is open or prepared any longer;
 * - the name in it is that of the committed transaction.
 */

/** A call of the handler that is about to be made. */
export interface XaCall {
  /** The name of the transaction: at most 128 ASCII characters, begins with `whose`. */
  readonly gid: string
  /** Names the gate: `concordat:<hash>:`, the same for each call of one saga step. */
  readonly whose: string
  /** `<saga>/<id>/<step>`, for people. */
  readonly key: string
  /** How long a statement waits for a row. */
  readonly lockTimeoutMs: number
  /** Longest pause between two statements, in ms: then the server ends the transaction of a frozen or disconnected process. */
  readonly idleMs: number
  /** Asked once, with the gate locked: false when the call was given up meanwhile. */
  isCurrent(): Promise<boolean>
}

/** `in`: prepared. `busy`: another call holds the gate, or this one was abandoned. `committed`: by an administrator, before. */
export type XaPassage<T> = { readonly entered: 'in'; readonly result: T } | { readonly entered: 'busy' | 'committed' }

/** State of a saga step's gate. */
export interface GateState {
  /** Unlocked: no transaction of the step is open or prepared. */
  readonly isFree: boolean
  /** The names of those that are prepared: one at most, but for a moment. */
  readonly prepared: readonly string[]
}

/** A transaction that is prepared. */
export interface PreparedTransaction {
  /** Its name. Ours begin with `concordat:` and end with the key of the saga step. */
  readonly gid: string
  /** Since it was prepared, by the server's clock. */
  readonly ageMs: number
  /** `<saga>/<id>/<step>` of one of ours, with `~` for characters that a name may not have; `undefined`: a foreign one. */
  readonly key: string | undefined
  /** The resource that has it: `MariaDB`; absent: the PostgreSQL that was asked. */
  readonly on?: string | undefined
}

/** A database in which an `xaParticipant` prepares, and commits or rolls back from any connection. Made by an adapter. */
export interface XaResource<Tx = unknown> {
  /** For messages: `MariaDB "shop"`. */
  readonly name: string
  /** @throws `core.sql_cannot_prepare`, `core.tables_missing` when it is not fit for it, with the remedy */
  ready(): Promise<void>
  /** Tells its transactions from those of other databases on the server. */
  place(): Promise<string>
  /** Passes the gate, calls `work` and prepares, on one connection. When `work` rejects all of it is rolled back. */
  prepare<T>(call: XaCall, work: (tx: Tx) => Promise<T>): Promise<XaPassage<T>>
  look(whose: string): Promise<GateState>
  /** The name of the transaction that was committed; `null`: none was. */
  committed(whose: string): Promise<string | null>
  /**
   * Commits or rolls back what is prepared. `gone`: no transaction of this name is. `busy`: it cannot be ended yet, ask again.
   */
  end(verb: 'COMMIT' | 'ROLLBACK', gid: string): Promise<'ended' | 'gone' | 'busy'>
  /** True if a statement failed because another transaction holds its row. */
  isHeld(error: unknown): boolean
  /** Its own ones that are older than that, the oldest first, at most twenty. */
  old(olderThanMs: number): Promise<readonly PreparedTransaction[]>
}
