import { SECOND } from 'concordat/core'
import { readable } from 'concordat/extension'
import type { XaCall, XaPassage } from 'concordat/saga/xa'
import type { BoundedConnection } from './bounded-pool.ts'
import { lockGate, openGate, passGate } from './gate-table.ts'
import { LentTransaction, type MysqlTransaction } from './handler-transaction.ts'
import { XaSession } from './xa-session.ts'
import { xidOf } from './xid.ts'

/** The server counts in whole seconds: a call that waits for a row at all waits at least one. */
const LEAST_WAIT_MS = 1 * SECOND

/**
 * A call of a handler, from `XA START` to `XA PREPARE`. The connection is returned unchanged, or closed once the handler has used
 * it.
 */
export class XaPreparation {
  readonly #connection: BoundedConnection
  readonly #session: XaSession
  readonly #call: XaCall
  readonly #xid: string

  constructor(connection: BoundedConnection, call: XaCall) {
    this.#connection = connection
    this.#session = new XaSession(connection, call.whose)
    this.#call = call
    this.#xid = xidOf(call.gid)
  }

  async run<T>(work: (tx: MysqlTransaction) => Promise<T>): Promise<XaPassage<T>> {
    const { whose, key, lockTimeoutMs } = this.#call
    this.#connection.waitForRows(Math.max(LEAST_WAIT_MS, lockTimeoutMs))
    try {
      if (!(await this.#session.claim())) return await this.#leave('busy')
      await this.#session.limit(this.#call)
      await openGate(this.#connection, whose, key)
      await this.#connection.query('SET TRANSACTION ISOLATION LEVEL READ COMMITTED')
      await this.#connection.query(`XA START ${this.#xid}`)
      const entered = await this.#enter()
      if (entered !== 'in') {
        await this.#rollBack()
        return await this.#leave(entered)
      }
      await this.#session.limitHandler(lockTimeoutMs)
    } catch (error) {
      // The server rolls back transactions that their client does not prepare.
      this.#connection.destroy()
      throw error
    }
    const result = await this.#work(work)
    await this.#session.close()
    return { entered: 'in', result }
  }

  async #enter(): Promise<'in' | 'busy' | 'committed'> {
    const { whose, gid } = this.#call
    const gate = await lockGate(this.#connection, whose)
    if (gate === undefined) return 'busy'
    if (gate.gid?.startsWith(whose) === true) return 'committed'
    if (!(await this.#call.isCurrent())) return 'busy'
    await passGate(this.#connection, whose, gid)
    return 'in'
  }

  async #work<T>(work: (tx: MysqlTransaction) => Promise<T>): Promise<T> {
    const tx = new LentTransaction(this.#connection)
    try {
      const result = await work(tx)
      tx.close()
      tx.requireComplete()
      await this.#connection.query(`XA END ${this.#xid}`)
      await this.#connection.query(`XA PREPARE ${this.#xid}`)
      return result
    } catch (thrown) {
      tx.close()
      await this.#giveUp()
      throw readable(thrown)
    }
  }

  /** Works in any state: if it fails, the server rolls back the transaction of the closed connection. */
  async #giveUp(): Promise<void> {
    try {
      await this.#rollBack()
      await this.#session.discard()
    } catch {
      this.#connection.destroy()
    }
  }

  async #rollBack(): Promise<void> {
    // Refused if the server has already rolled back after a deadlock and only waits for this.
    await this.#connection.query(`XA END ${this.#xid}`).catch(() => {})
    await this.#connection.query(`XA ROLLBACK ${this.#xid}`)
  }

  async #leave(entered: 'busy' | 'committed'): Promise<{ readonly entered: 'busy' | 'committed' }> {
    await this.#session.release()
    return { entered }
  }
}
