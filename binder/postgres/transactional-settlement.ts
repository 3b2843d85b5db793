import { limitedTransaction } from '../../core/idle-limited-transaction.ts'
import { throwFromOwnStatement } from '../../core/own-statements.ts'
import type { SqlClient, SqlTransaction } from '../../core/sql.ts'
import { writeOutcome } from '../../core/write-fault.ts'
import { Loan } from '../transport/kit/lending.ts'
import { LentDelivery } from '../transport/kit/lent-delivery.ts'
import type { SettlingTransactions, TransportDelivery } from '../transport/transport.ts'
import type { Fetched } from './claimed-partition.ts'
import { HeldPartition } from './held-partition.ts'
import type { GroupSource } from './partition-sources.ts'
import type { TransportTables } from './tables.ts'
import { failure } from './transport-errors.ts'

/** Settled messages of a transaction in one partition. */
interface Part {
  readonly held: HeldPartition
  readonly source: GroupSource
  readonly positions: readonly number[]
}

/** End of a transaction, for the positions that it wrote. */
type Outcome = 'committed' | 'rolled back' | 'unknown'

/** The positions that one transaction writes, from its last statement to its outcome. */
class Settled {
  isWritten = false
  readonly #parts: Array<Part & { readonly changes: number }> = []
  readonly #turns: Array<() => void> = []

  hasTurn(end: () => void): void {
    this.#turns.push(end)
  }

  writes(part: Part, changes: number): void {
    this.#parts.push({ ...part, changes })
  }

  end(outcome: Outcome, reason: Error): void {
    for (const { held, positions, changes } of this.#parts) {
      if (outcome === 'committed') held.settledIn(positions, changes)
      else if (outcome === 'unknown') held.lost(reason)
    }
    for (const end of this.#turns) end()
  }
}

/**
 * Positions written by handlers' transactions, as their last statement: until then nothing of the partition is locked, however
 * long a handler takes. A version names the previous one, so in a partition one transaction at a time is between that statement
 * and its commit; the others wait in this process, and so does fetching.
 */
export class TransactionalSettlement implements SettlingTransactions {
  readonly sql: SqlClient
  /** Client of the transactions. */
  readonly of: SqlClient
  readonly #tables: TransportTables
  readonly #open = new WeakMap<SqlTransaction, Settled>()

  constructor(sql: SqlClient, tables: TransportTables, leaseMs: number) {
    this.#tables = tables
    this.of = sql
    this.sql = {
      exclusive: sql.exclusive,
      inMemory: sql.inMemory,
      isInTransaction: sql.isInTransaction,
      connections: sql.connections,
      query: (text, parameters) => sql.query(text, parameters),
      transaction: (work) => this.#transaction(sql, leaseMs, work),
    }
  }

  async #transaction<T>(sql: SqlClient, leaseMs: number, work: (tx: SqlTransaction) => Promise<T>): Promise<T> {
    const settled = new Settled()
    let isWhole = false
    let result: T
    try {
      result = await limitedTransaction(sql, leaseMs, async (tx) => {
        this.#open.set(tx, settled)
        const made = await work(tx)
        isWhole = true
        return made
      })
    } catch (error) {
      // Unless the commit was sent nothing is committed.
      const isUnknown = isWhole && writeOutcome(error) === 'unknown'
      settled.end(isUnknown ? 'unknown' : 'rolled back', new Error('the commit has no answer', { cause: error }))
      throw error
    }
    settled.end('committed', new Error('committed'))
    return result
  }

  async settle(tx: SqlTransaction, deliveries: readonly TransportDelivery[]): Promise<void> {
    const settled = this.#open.get(tx)
    if (settled === undefined || settled.isWritten)
      throw new TypeError('settle: once in a transaction of `settlingIn().sql`, as its last statement')
    settled.isWritten = true
    const parts = partsOf(deliveries)
    for (const { source } of parts) settled.hasTurn(await source.turn())
    // Another member may have taken it meanwhile.
    for (const { held } of parts) if (held.loan.isWithdrawn) throw gone(held)
    if (parts.length > 0) await this.#write(tx, parts, settled)
  }

  /** Writes all partitions with one statement. */
  async #write(tx: SqlTransaction, parts: readonly Part[], settled: Settled): Promise<void> {
    const values: unknown[] = []
    const rows = parts.map((part) => {
      const { group, part: id, version, epoch, owner } = part.source.version
      const to = part.held.place.settledWith(part.positions)
      settled.writes(part, to.changes)
      const at = values.push(group, id, version, epoch, owner, to.settled, to.done) - COLUMNS.length
      return `(${COLUMNS.map((type, i) => `$${at + i + 1}::${type}`).join(', ')})`
    })
    const { progress } = this.#tables
    const write = tx.query<{ part: number }>(
      `INSERT INTO ${progress} (grp, part, ver, epoch, owner, settled, handed, done)
       SELECT w.grp, w.part, w.ver + 1, w.epoch, w.owner, w.settled, b.handed, w.done
       FROM (VALUES ${rows.join(', ')}) AS w(grp, part, ver, epoch, owner, settled, done)
       JOIN ${progress} b ON b.grp = w.grp AND b.part = w.part AND b.ver = w.ver AND b.epoch = w.epoch AND b.owner = w.owner
       ON CONFLICT DO NOTHING RETURNING part`,
      values,
    )
    const written = await write.catch(throwFromOwnStatement)
    const done = new Set(written.rows.map(({ part }) => part))
    const lost = parts.filter(({ held }) => !done.has(held.source.part))
    for (const { held } of lost) held.lost(gone(held))
    if (lost[0] !== undefined) throw gone(lost[0].held)
  }
}

const COLUMNS = ['int', 'int', 'bigint', 'bigint', 'text', 'bigint', 'bigint[]'] as const

/** In the same order everywhere, so that two transactions that wait for turns in the same partitions cannot deadlock. */
function partsOf(deliveries: readonly TransportDelivery[]): readonly Part[] {
  const parts = new Map<HeldPartition, Part & { readonly positions: number[] }>()
  for (const delivery of new Set(deliveries)) {
    const { held, source, position } = lentBy(delivery)
    const part = parts.get(held)
    if (part === undefined) parts.set(held, { held, source, positions: [position] })
    else part.positions.push(position)
  }
  return [...parts.values()].toSorted((a, b) => a.held.order - b.held.order)
}

function lentBy(delivery: TransportDelivery): Omit<Part, 'positions'> & { readonly position: number } {
  const { lender, item, hasEnded } = delivery instanceof LentDelivery ? (delivery as LentDelivery<unknown>) : NOT_LENT
  const held = lender instanceof Loan && lender.source instanceof HeldPartition ? lender.source : undefined
  if (held?.shared === undefined)
    throw failure('mismatch', 'settle: a delivery of a subscription that was not given these transactions (settlesIn)')
  if (hasEnded) throw gone(held)
  return { held, source: held.shared, position: (item as Fetched).position }
}

const NOT_LENT = { lender: undefined, item: undefined, hasEnded: true }

function gone(held: HeldPartition): Error {
  return failure('unavailable', `partition ${held.source.index} is another member's, or this subscription is over`)
}
