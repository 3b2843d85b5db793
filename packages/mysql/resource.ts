/**
 * MariaDB or MySQL as the resource of an `xaParticipant`: `XA START ... XA END, XA PREPARE`, and `XA COMMIT` or `XA ROLLBACK`
 * from any connection of any instance.
 *
 * @see docs/transactions/xa-and-undo.md, "MariaDB and MySQL"
 */
import { type Clock, DAY, SECOND, systemClock } from 'concordat/core'
import { causesOf, optionNames, refuseUnknown, requireInteger } from 'concordat/extension'
import type { XaCall, XaPassage, XaResource } from 'concordat/saga/xa'
import { BoundedPool } from './bounded-pool.ts'
import {
  ER,
  hasNumber,
  type MysqlCallbackPool,
  type MysqlConnection,
  type MysqlPool,
  own,
  promisePool,
  resultOf,
  rowsOf,
} from './driver.ts'
import { isGateFree, migrateGates, noteDecision, preparedGates, purgeGates, readGate } from './gate-table.ts'
import type { MysqlTransaction } from './handler-transaction.ts'
import { XaPreparation } from './xa-preparation.ts'
import { holderOf } from './xa-session.ts'
import { requireXaSupport } from './xa-support-check.ts'
import { GID_PREFIX, gateOf, gidOf, type RecoveredRow, xidOf } from './xid.ts'

type GateState = Awaited<ReturnType<XaResource['look']>>
type PreparedTransaction = Awaited<ReturnType<XaResource['old']>>[number]

/** A MariaDB or MySQL database in which an `xaParticipant` prepares. */
export interface MysqlXaResource extends XaResource<MysqlTransaction> {
  /** Creates its table, `concordat_xa`. Idempotent; waits for no lock once the table exists. */
  migrate(): Promise<void>
  /**
   * Deletes the records of steps that were decided longer ago than `olderThanMs` (at least a day). Keep them as long as
   * `purgeParticipant` keeps its rows. @returns the number of rows
   */
  purge(options: { readonly olderThanMs: number }): Promise<number>
}

/** Options of `mysqlResource`. */
export interface MysqlResourceOptions {
  /**
   * Time limit in ms for each statement, including those of a handler, and for each wait for a connection of the pool; a
   * statement of a call that waits for rows has its `lockTimeoutMs` in addition. Afterwards the connection is closed with
   * `MysqlUnanswered` and the command is retried, so that a stopped server does not block a participant. Only a statement of a
   * handler counts this as an attempt.
   * @default 30 seconds
   */
  readonly answerMs?: number | undefined
}

const NAMES = optionNames<MysqlResourceOptions>({ answerMs: true })
const ANSWER_MS = 30 * SECOND
const MOST_ANSWER_MS = 2 ** 31 - 1

/**
 * MariaDB 10.6 or later, MySQL 8.0.29 or later. Give it its own pool, with `gracefulEnd: true`: each connection that has prepared
 * is closed, so the pool opens a new one each time. The database needs the table of `migrate()`. The caller ends the pool.
 * @param pool of `mysql2` or `mysql2/promise`
 * @throws TypeError if it is not a pool; TypeError / RangeError with the name of the option
 */
export function mysqlResource(
  pool: MysqlPool | MysqlCallbackPool,
  options: MysqlResourceOptions = {},
): MysqlXaResource {
  refuseUnknown('mysqlResource', options, NAMES)
  const answerMs = requireInteger('mysqlResource.answerMs', options.answerMs ?? ANSWER_MS, 1, MOST_ANSWER_MS)
  return new PoolResource(new BoundedPool(promisePool('mysqlResource', pool), systemClock, answerMs), systemClock)
}

/** Time after the end of a connection during which the engine may not know it yet: many times the observed value. */
const DETACHED_AFTER_MS = 25
/** A connection that has prepared only needs to be closed: after this time, its client counts as cut off. */
const CUT_OFF_MS = 2 * SECOND
const LOOK_MS = 2
/** Number of transactions whose lost connection is remembered. */
const MOST_REMEMBERED = 1_000
const MOST_TOLD = 20
const MOST_AT_ONCE = 1_000
/** Dates of MariaDB and MySQL do not go back much further. */
const MAX_AGE_MS = 1_000 * 365 * DAY
const PURGE_NAMES = optionNames<{ olderThanMs: number }>({ olderThanMs: true })

class PoolResource implements MysqlXaResource {
  readonly name: string = 'MariaDB'
  readonly #pool: BoundedPool
  readonly #clock: Clock
  #database: string | undefined
  /** The time at which the connections of prepared transactions were seen to be gone, and first seen in the way. */
  readonly #goneAt = new Map<string, number>()
  readonly #heldSince = new Map<string, number>()

  constructor(pool: BoundedPool, clock: Clock) {
    this.#pool = pool
    this.#clock = clock
  }

  ready(): Promise<void> {
    return this.#use(requireXaSupport)
  }

  migrate(): Promise<void> {
    return this.#use(migrateGates)
  }

  async place(): Promise<string> {
    this.#database ??= await this.#use(async (connection) => {
      const [row] = await rowsOf<{ name: string }>(connection, 'SELECT DATABASE() AS name')
      return (row as { name: string }).name
    })
    return this.#database
  }

  async prepare<T>(call: XaCall, work: (tx: MysqlTransaction) => Promise<T>): Promise<XaPassage<T>> {
    const passage = await new XaPreparation(await this.#pool.getConnection(), call).run(work)
    if (passage.entered === 'in') await this.#untilGone(call)
    return passage
  }

  /**
   * The row is read before the names: transactions that pass afterwards are seen as prepared, or as open and in the way, the next
   * time.
   */
  look(whose: string): Promise<GateState> {
    return this.#use(async (connection) => {
      const isFree = await isGateFree(connection, whose)
      const all = await recover(connection)
      return { isFree, prepared: all.filter((gid) => gid.startsWith(whose)) }
    })
  }

  committed(whose: string): Promise<string | null> {
    return this.#use(async (connection) => (await readGate(connection, whose))?.gid ?? null)
  }

  async end(verb: 'COMMIT' | 'ROLLBACK', gid: string): Promise<'ended' | 'gone' | 'busy'> {
    const state = await this.#use((connection) => this.#mayEnd(connection, gid))
    if (state === 'gone') this.#heldSince.delete(gid)
    const ended = state === 'free' ? await this.#end(verb, gid) : state
    // Also for transactions that an administrator committed: their age counts from here on.
    if (verb === 'COMMIT' && ended !== 'busy')
      await this.#use((connection) => noteDecision(connection, gateOf(gid), gid))
    return ended
  }

  async #end(verb: 'COMMIT' | 'ROLLBACK', gid: string): Promise<'ended' | 'gone' | 'busy'> {
    await this.#pause(gid)
    return this.#use(async (connection) => {
      try {
        await connection.query(`XA ${verb} ${xidOf(gid)}`)
        this.#goneAt.delete(gid)
        return 'ended'
      } catch (error) {
        if (!hasNumber(error, ER.XAER_NOTA)) throw error
        return (await recover(connection)).includes(gid) ? 'busy' : 'gone'
      }
    })
  }

  isHeld(error: unknown): boolean {
    return causesOf(error).some((each) => hasNumber(each, ER.LOCK_WAIT_TIMEOUT))
  }

  old(olderThanMs: number): Promise<readonly PreparedTransaction[]> {
    return this.#use(async (connection) => {
      const gids = await recover(connection)
      const found: PreparedTransaction[] = []
      // The list is that of the server: most of it may belong to other databases.
      for (let from = 0; from < gids.length; from += MOST_AT_ONCE) {
        const some = gids.slice(from, from + MOST_AT_ONCE)
        const rows = await preparedGates(connection, some.map(gateOf), olderThanMs)
        found.push(...rows.filter(({ gid }) => some.includes(gid)))
      }
      return found.toSorted((a, b) => b.ageMs - a.ageMs).slice(0, MOST_TOLD)
    })
  }

  async purge(options: { readonly olderThanMs: number }): Promise<number> {
    refuseUnknown('purge', options, PURGE_NAMES)
    requireInteger('purge.olderThanMs', options.olderThanMs, DAY, MAX_AGE_MS)
    for (let total = 0; ; ) {
      const { count, isMore } = await this.#use((connection) => purgeGates(connection, options.olderThanMs))
      total += count
      if (!isMore) return total
    }
  }

  /** Tells whether the connection that has prepared it is gone. A connection whose client is cut off is closed from here. */
  async #mayEnd(connection: MysqlConnection, gid: string): Promise<'free' | 'gone' | 'busy'> {
    if (this.#goneAt.has(gid)) return 'free'
    if (!(await recover(connection)).includes(gid)) return 'gone'
    const holder = await holderOf(connection, gateOf(gid))
    const now = this.#clock.monotonic()
    if (holder === undefined) {
      this.#remember(gid, now)
      return 'free'
    }
    const since = this.#heldSince.get(gid) ?? now
    this.#heldSince.set(gid, since)
    // The connection may be gone by now, or belong to another user: the next check will show it.
    if (now - since > CUT_OFF_MS) await connection.query(`KILL CONNECTION ${Number(holder)}`).catch(() => {})
    return 'busy'
  }

  /** Waits until the connection that has prepared is gone, so that the reply does not overtake it. */
  async #untilGone({ gid, whose }: XaCall): Promise<void> {
    const deadline = this.#clock.monotonic() + CUT_OFF_MS
    while ((await this.#use((connection) => holderOf(connection, whose))) !== undefined) {
      if (this.#clock.monotonic() > deadline) return
      await this.#clock.sleep(LOOK_MS)
    }
    this.#remember(gid, this.#clock.monotonic())
  }

  async #pause(gid: string): Promise<void> {
    const leftMs = (this.#goneAt.get(gid) ?? 0) + DETACHED_AFTER_MS - this.#clock.monotonic()
    if (leftMs > 0) await this.#clock.sleep(leftMs)
  }

  #remember(gid: string, at: number): void {
    this.#heldSince.delete(gid)
    const [oldest] = this.#goneAt.keys()
    if (oldest !== undefined && this.#goneAt.size >= MOST_REMEMBERED) this.#goneAt.delete(oldest)
    this.#goneAt.set(gid, at)
  }

  /** A connection for a few statements. A failed one is not reused: its state is unknown. */
  async #use<T>(work: (connection: MysqlConnection) => Promise<T>): Promise<T> {
    const connection = await this.#pool.getConnection()
    try {
      const result = await work(connection)
      connection.release()
      return result
    } catch (error) {
      connection.destroy()
      throw error
    }
  }
}

/** The names of our transactions that are prepared on the server, in any database. */
async function recover(connection: MysqlConnection): Promise<readonly string[]> {
  const { rows } = resultOf<RecoveredRow>(await connection.query(own('XA RECOVER')))
  return rows.map(gidOf).filter((gid) => gid.startsWith(GID_PREFIX))
}
