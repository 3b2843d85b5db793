/**
 * A connection from the start of a transaction to its preparation, and its state when another connection is to end the
 * transaction. MariaDB releases a prepared transaction only when its connection is closed. While the connection is closing, there
 * is a moment in which `XA COMMIT` of another connection responds OK without any effect (seen on 10.11.19: the list of names is
 * updated before the engine). Therefore a connection that prepares holds a user lock named after its gate, which the server
 * releases at the end of that moment; the connection that ends the transaction checks the lock first.
 *
 * A connection that has prepared is closed, never reset: after COM_RESET_CONNECTION or COM_CHANGE_USER the transaction is half
 * detached, and its `XA COMMIT` is lost in the same way.
 */
import type { XaCall } from 'concordat/saga/xa'
import type { BoundedConnection } from './bounded-pool.ts'
import { type MysqlConnection, rowsOf } from './driver.ts'

/** Time limits in seconds: waiting for a row, waiting for a table that DDL needs, and a silent handler. */
interface Limits {
  readonly rowLocks: number
  readonly tableLocks: number
  readonly silence: number
}

interface ClaimRow extends Limits {
  readonly claimed: number | null
}

export class XaSession {
  readonly #connection: BoundedConnection
  readonly #lock: string
  #before: Limits | undefined

  constructor(connection: BoundedConnection, whose: string) {
    this.#connection = connection
    this.#lock = lockName(whose)
  }

  /** Claims the user lock. @returns false if another session of this step exists */
  async claim(): Promise<boolean> {
    const [row] = await rowsOf<ClaimRow>(
      this.#connection,
      `SELECT GET_LOCK(?, 0) AS claimed, @@innodb_lock_wait_timeout AS rowLocks, @@lock_wait_timeout AS tableLocks,
         @@wait_timeout AS silence`,
      [this.#lock],
    )
    const { claimed, ...before } = row as ClaimRow
    if (claimed !== 1) return false
    this.#before = before
    return true
  }

  /** Sets the time limits of a session that has claimed the lock. Our own statements may wait for a moment regardless of them. */
  async limit({ lockTimeoutMs, idleMs }: Pick<XaCall, 'lockTimeoutMs' | 'idleMs'>): Promise<void> {
    const seconds = Math.max(1, Math.round(lockTimeoutMs / 1_000))
    const silence = Math.min(Math.ceil(idleMs / 1_000), this.#before?.silence ?? Number.POSITIVE_INFINITY)
    await this.#set({ rowLocks: seconds, tableLocks: seconds, silence })
    this.#connection.endsAfter(silence * 1_000)
  }

  /** From now on, the handler is the one that waits. */
  async limitHandler(lockTimeoutMs: number): Promise<void> {
    // The server counts in whole seconds. Even half a second would be too long for a call that must not delay others: it does not
    // wait.
    if (Math.round(lockTimeoutMs / 1_000) > 0) return
    await this.#connection.query('SET SESSION innodb_lock_wait_timeout = 0')
  }

  /** Closes it: from now on, any connection can end the prepared transaction. */
  async close(): Promise<void> {
    await closeConnection(this.#connection)
  }

  /** Closes a connection without a transaction, because it keeps the handler's settings (variables, `sql_mode`, locks). */
  async discard(): Promise<void> {
    // The same step may be retried before the server has noticed the close.
    await rowsOf(this.#connection, 'SELECT RELEASE_LOCK(?)', [this.#lock])
    await closeConnection(this.#connection)
  }

  /** Returns a connection that no handler has used, and that has no transaction, in its original state. */
  async release(): Promise<void> {
    try {
      if (this.#before !== undefined) {
        // The lock first: after its own limits are restored, a silent connection may exist for hours.
        await rowsOf(this.#connection, 'SELECT RELEASE_LOCK(?)', [this.#lock])
        await this.#set(this.#before)
      }
      this.#connection.release()
    } catch {
      this.#connection.destroy()
    }
  }

  async #set({ rowLocks, tableLocks, silence }: Limits): Promise<void> {
    await this.#connection.query(
      `SET SESSION innodb_lock_wait_timeout = ${Number(rowLocks)}, lock_wait_timeout = ${Number(tableLocks)}, wait_timeout = ${Number(silence)}`,
    )
  }
}

/** The connection that has, or had, the transaction: its number while it exists. */
export async function holderOf(connection: MysqlConnection, whose: string): Promise<number | undefined> {
  const [row] = await rowsOf<{ holder: number | null }>(connection, 'SELECT IS_USED_LOCK(?) AS holder', [
    lockName(whose),
  ])
  return row?.holder ?? undefined
}

function lockName(whose: string): string {
  return whose
}

/** Gracefully, if the pool allows it: otherwise the server logs an aborted connection. */
async function closeConnection(connection: BoundedConnection): Promise<void> {
  if (!connection.isGraceful) {
    connection.destroy()
    return
  }
  await connection.end().catch(() => connection.destroy())
}
