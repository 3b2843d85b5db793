/**
 * Where operations of an XA participant find prepared transactions: in the participant's own PostgreSQL, or in another resource.
 * No function here is called within a transaction that holds a connection of the participant's pool, except those with a `tx`
 * parameter: code that waits for a connection of one pool must not hold one of the other.
 */
import { causesOf, hasCode } from '../../core/errors.ts'
import { throwFromOwnStatement } from '../../core/own-statements.ts'
import { PREPARED_SETTING, type SqlClient, type SqlTransaction } from '../../core/sql.ts'
import type { BusyTries } from '../../core/transaction-retries.ts'
import { SagaError } from '../errors.ts'
import type { BarrierEntry, StepOwner } from '../participant/barrier-entry.ts'
import type { CommandHeaders } from '../wire/wire.ts'
import type { BarrierRows } from './barrier-rows.ts'
import { baseOf, gidBase } from './gid.ts'
import { endPrepared, notYet } from './prepared-transaction-end.ts'
import type { GateState, XaPassage, XaResource } from './resource.ts'

/** A call of the handler. */
export interface GateCall {
  readonly step: StepOwner
  readonly gid: string
  readonly base: string
  /** How long a statement of the handler waits for a row. */
  readonly waitMs: number
}

export interface Gate<Tx> {
  /** Maximum length of a name. */
  readonly mostBytes: number
  /** True: the prepared transaction and the gate are in another database than the barrier. */
  readonly isApart: boolean
  /** Returns the prefix of the names of this step's transactions. */
  base(command: CommandHeaders, entry: BarrierEntry | undefined): Promise<string>
  /** Records that the handler is about to be called. */
  begin(tx: SqlTransaction, entry: BarrierEntry, gid: string): Promise<void>
  prepare<T>(call: GateCall, work: (tx: Tx) => Promise<T>): Promise<XaPassage<T>>
  look(step: StepOwner, base: string): Promise<GateState>
  /** Returns the name of the committed transaction; `null` without one. */
  committed(step: StepOwner, base: string): Promise<string | null>
  /** Ends a prepared transaction. Harmless if another process was faster. */
  end(verb: 'COMMIT' | 'ROLLBACK', gid: string, busy: BusyTries): Promise<void>
  /** Tells whether another transaction holds the row that a statement needs. */
  isHeld(error: unknown): boolean
  /** Tells whether an unanswered call may be open or prepared. */
  isAtWork(tx: SqlTransaction, entry: BarrierEntry): Promise<boolean>
}

export type PreparingClient = SqlClient & { readonly prepare: NonNullable<SqlClient['prepare']> }

/** Limit of PostgreSQL is 199 bytes. */
export const MOST_BYTES_POSTGRES = 199
const LOCK_NOT_AVAILABLE = '55P03'

/** Prepares in the participant's own database: the gate is a row of its barrier. */
export class OwnGate implements Gate<SqlTransaction> {
  readonly mostBytes: number = MOST_BYTES_POSTGRES
  readonly isApart: boolean = false
  readonly #sql: PreparingClient
  readonly #rows: BarrierRows

  constructor(sql: PreparingClient, rows: BarrierRows) {
    this.#sql = sql
    this.#rows = rows
  }

  async base(command: CommandHeaders, entry: BarrierEntry | undefined): Promise<string> {
    return entry?.gid == null ? gidBase(await this.#rows.place(this.#sql), command) : baseOf(entry.gid)
  }

  begin(tx: SqlTransaction, entry: BarrierEntry, gid: string): Promise<void> {
    return this.#rows.begin(tx, entry, gid)
  }

  async prepare<T>(
    { step, gid, base, waitMs }: GateCall,
    work: (tx: SqlTransaction) => Promise<T>,
  ): Promise<XaPassage<T>> {
    try {
      return await this.#sql.prepare(gid, async (tx) => {
        const entered = await this.#rows.enter(tx, step, gid, base)
        if (entered !== 'in') throw new NotEntered(entered)
        const role = await roleIn(tx, PASSED, [`${waitMs}ms`])
        const result = await work(tx)
        // A prepared transaction belongs to the role at that moment, and only that role may end it.
        if ((await roleIn(tx, 'SELECT current_user::text AS role')) !== role)
          throw new SagaError('saga.step_role', { key: step.key })
        return { entered, result }
      })
    } catch (error) {
      if (error instanceof NotEntered) return { entered: error.entered }
      throw error
    }
  }

  look(step: StepOwner, base: string): Promise<GateState> {
    return this.#rows.look(this.#sql, step, base)
  }

  committed(step: StepOwner): Promise<string | null> {
    return this.#rows.committed(this.#sql, step)
  }

  async end(verb: 'COMMIT' | 'ROLLBACK', gid: string, busy: BusyTries): Promise<void> {
    await endPrepared(this.#sql, verb, gid, busy)
  }

  /** Also recognises an error that a library has wrapped. */
  isHeld(error: unknown): boolean {
    return causesOf(error).some((each) => hasCode(each, LOCK_NOT_AVAILABLE))
  }

  async isAtWork(tx: SqlTransaction, entry: BarrierEntry): Promise<boolean> {
    const { gid, status } = entry
    if (status !== 'begun' || gid === null) return false
    const { isFree, prepared } = await this.#rows.look(tx, entry, gid)
    return !isFree || prepared.length > 0
  }
}

/** A handler may pass the transaction to a library, through which a lock's guard must recognise it. */
const PASSED = `SELECT current_user::text AS role, set_config('lock_timeout', $1, true), set_config('${PREPARED_SETTING}', 'on', true)`

async function roleIn(tx: SqlTransaction, text: string, parameters: readonly unknown[] = []): Promise<string> {
  const { rows } = await tx.query<{ role: string }>(text, parameters).catch(throwFromOwnStatement)
  return (rows[0] as { role: string }).role
}

/** Ends a transaction that must not be prepared. */
class NotEntered extends Error {
  readonly entered: 'busy' | 'committed'

  constructor(entered: 'busy' | 'committed') {
    super()
    this.entered = entered
  }
}

/** A name has two parts there, of 64 bytes each. */
const MOST_BYTES_XA = 128

/** Prepares in another database, which has the gate. */
export class ResourceGate<Tx> implements Gate<Tx> {
  readonly mostBytes: number = MOST_BYTES_XA
  readonly isApart: boolean = true
  readonly #sql: SqlClient
  readonly #rows: BarrierRows
  readonly #resource: XaResource<Tx>
  readonly #idleMs: number

  /** @param idleMs longest time without a statement of the handler */
  constructor(sql: SqlClient, rows: BarrierRows, resource: XaResource<Tx>, idleMs: number) {
    this.#sql = sql
    this.#rows = rows
    this.#resource = resource
    this.#idleMs = idleMs
  }

  async base(command: CommandHeaders, entry: BarrierEntry | undefined): Promise<string> {
    if (entry?.gid != null) return baseOf(entry.gid)
    return gidBase([await this.#resource.place(), ...(await this.#rows.place(this.#sql))], command)
  }

  begin(tx: SqlTransaction, entry: BarrierEntry, gid: string): Promise<void> {
    return this.#rows.name(tx, entry, gid)
  }

  prepare<T>({ step, gid, base, waitMs }: GateCall, work: (tx: Tx) => Promise<T>): Promise<XaPassage<T>> {
    const isCurrent = (): Promise<boolean> => this.#rows.isBegun(this.#sql, step, gid)
    const call = { gid, whose: base, key: step.key, lockTimeoutMs: waitMs, idleMs: this.#idleMs, isCurrent }
    return this.#resource.prepare(call, work)
  }

  look(_: StepOwner, base: string): Promise<GateState> {
    return this.#resource.look(base)
  }

  committed(_: StepOwner, base: string): Promise<string | null> {
    return this.#resource.committed(base)
  }

  async end(verb: 'COMMIT' | 'ROLLBACK', gid: string, busy: BusyTries): Promise<void> {
    while ((await this.#resource.end(verb, gid)) === 'busy') {
      await notYet(busy, `transaction ${gid} cannot be ended yet on ${this.#resource.name}`)
    }
  }

  isHeld(error: unknown): boolean {
    return this.#resource.isHeld(error)
  }

  /** Checking would wait for a connection of the other pool. Nothing is recorded about a call that may still be answered. */
  async isAtWork(_: SqlTransaction, { status, gid }: BarrierEntry): Promise<boolean> {
    return status === 'begun' && gid !== null
  }
}
