/**
 * A transaction that the caller's library begins and ends, as a `SqlTransaction`. All adapters for such transactions are created
 * here.
 *
 * It is bound to one transaction. At its creation it asks the server for the id of the transaction, before anything that the
 * caller sends afterwards. Each statement carries that id as a condition: if it is queued behind a ROLLBACK, or sent on a
 * connection on which another transaction has begun, it does nothing and rejects with `core.sql_transaction_missing`.
 */

import { conditional } from './conditional-statement.ts'
import { ConcordatError } from './errors.ts'
import { PREPARED_SETTING, type SqlResult, type SqlTransaction } from './sql.ts'
import { SqlError } from './sql-error.ts'
import { fromDriver } from './sql-unavailable.ts'
import { fieldOf } from './thrown-values.ts'

/** Runs one of our statements in a library's transaction. */
export type Run = (text: string, parameters: readonly unknown[]) => Promise<unknown>

interface JoinedOptions {
  /** Object that the library creates per transaction: adapters with the same object are treated as one. */
  readonly of?: object | undefined
  /** Called before each statement. @throws if the library reports that its transaction has ended */
  readonly requireOpen?: (() => void) | undefined
}

/** Asks the server at once: call it while the transaction is open, not when its first statement is due. */
export function joinedTransaction(run: Run, { of, requireOpen }: JoinedOptions = {}): SqlTransaction {
  const known = of && made.get(of)
  if (known !== undefined) return known
  const joined = new JoinedTransaction(run, requireOpen)
  const tx: SqlTransaction = {
    inTransaction: true,
    query: (text, parameters = []) => joined.query(text, parameters),
    isPrepared: async () => (await joined.known).isPrepared,
  }
  if (of !== undefined) {
    made.set(of, tx)
    joined.known.catch(() => made.delete(of))
  }
  return tx
}

const made = new WeakMap<object, SqlTransaction>()

/** The transaction's state, as reported by the server. */
interface Known {
  readonly id: string
  /** The transaction ends with `PREPARE TRANSACTION`. */
  readonly isPrepared: boolean
}

class JoinedTransaction {
  readonly #run: Run
  readonly #requireOpen: (() => void) | undefined
  readonly known: Promise<Known>

  constructor(run: Run, requireOpen: (() => void) | undefined) {
    this.#run = run
    this.#requireOpen = requireOpen
    this.known = this.#learn()
    // Every statement rejects with it.
    this.known.catch(() => {})
  }

  /** @throws `core.sql_transaction_missing`, `core.sql_transaction_ended` */
  async query<Row extends object>(text: string, parameters: readonly unknown[]): Promise<SqlResult<Row>> {
    this.#requireOpen?.()
    const { id } = await this.known
    this.#requireOpen?.()
    const pieces = conditional(text)
    if (pieces === undefined) await this.#requireCurrent(id)
    const asked = pieces?.join(`pg_current_xact_id_if_assigned() = '${id}'::xid8`) ?? text
    const result = (await this.#ask(asked, parameters)) as SqlResult<Row>
    if (pieces === undefined || (result.rowCount === 0 && result.rows.length === 0)) await this.#requireCurrent(id)
    return result
  }

  /** Outside of a transaction, the id belongs to this question alone, and no later statement has it. */
  async #learn(): Promise<Known> {
    const { rows } = await this.#ask(
      `SELECT pg_current_xact_id()::text AS id, coalesce(current_setting('${PREPARED_SETTING}', true), '') = 'on' AS "isPrepared"`,
      [],
    )
    return rows[0] as Known
  }

  /** An id that was current before and is current now was current all the time. @throws `core.sql_transaction_missing` */
  async #requireCurrent(id: string): Promise<void> {
    const { rows } = await this.#ask('SELECT pg_current_xact_id_if_assigned()::text AS id', [])
    if ((rows[0] as { readonly id: string | null }).id !== id) throw new SqlError('core.sql_transaction_missing')
  }

  async #ask(text: string, parameters: readonly unknown[]): Promise<SqlResult<object>> {
    try {
      return resultOf(await this.#run(text, parameters))
    } catch (error) {
      throw error instanceof ConcordatError ? error : fromDriver(withState(error))
    }
  }
}

/** @throws `core.sql_transaction_ended` */
export function requireActive(isActive: boolean): void {
  if (!isActive) throw new SqlError('core.sql_transaction_ended')
}

/** The result shapes of `pg`, of `postgres` (rows with a `count`), and of TypeORM with full results. */
interface Answer {
  readonly rows?: readonly object[]
  readonly rowCount?: number | null
  readonly records?: readonly object[]
  readonly affected?: number
}

function resultOf(answer: unknown): SqlResult<object> {
  if (Array.isArray(answer)) {
    const { count } = answer as { readonly count?: unknown }
    return { rows: [...(answer as object[])], rowCount: typeof count === 'number' ? count : answer.length }
  }
  const { rows, rowCount, records, affected } = answer as Answer
  const found = rows ?? records ?? []
  return { rows: found, rowCount: rowCount ?? affected ?? found.length }
}

/**
 * The error of the driver, with its SQLSTATE in `code`. The errors that libraries wrap around it contain the values of the
 * statement.
 */
function withState(error: unknown): unknown {
  const chain: object[] = []
  for (let at = error; typeof at === 'object' && at !== null && !chain.includes(at); ) {
    chain.push(at)
    at = fieldOf(at, 'driverError') ?? fieldOf(at, 'cause')
  }
  return chain.findLast(hasState) ?? chain.at(-1) ?? error
}

function hasState(error: object): boolean {
  const code = fieldOf(error, 'code')
  return typeof code === 'string' && STATE.test(code)
}

const STATE = /^[0-9A-Z]{5}$/
