import { newId } from '../../core/ids.ts'
import type { StatementRunner } from './statement-runner.ts'
import type { TransportTables } from './tables.ts'
import { failure, isWithoutTables } from './transport-errors.ts'

const WHAT = 'look whether transactionsOf is in the database of the log'
const MOST_LOOKS = 10

/**
 * Checks that the transactions are in the database of the log: a row written here must be visible there. Names and numbers would
 * not distinguish two copies. Messages of other transactions would be in another log.
 * @throws TransportError `mismatch` when they are not
 */
export async function requireSameDatabase(
  log: StatementRunner,
  transactions: StatementRunner,
  { session }: TransportTables,
): Promise<void> {
  for (let looks = 0; looks < MOST_LOOKS; looks++) {
    const owner = `look/${newId()}`
    // Without a group it has no effect; with the current time it is not removed with old sessions.
    await log.query(WHAT, `INSERT INTO ${session} (owner, live_until) VALUES ($1, clock_timestamp())`, [owner])
    let isSeen = false
    let isThere = false
    try {
      isSeen = await sees(transactions, session, owner)
    } finally {
      isThere = await remove(log, session, owner).catch(() => false)
    }
    if (isSeen) return
    // If it is gone, a starting member took it for that of a previous process, and nothing is known.
    if (isThere) break
  }
  throw failure(
    'mismatch',
    'postgresTransport.transactionsOf: expected a client of the database of `sql`, got one of another: what its transactions ' +
      'send would not be in this log. Give both pools one address, or leave transactionsOf out and let the relay send',
  )
}

async function sees(transactions: StatementRunner, session: string, owner: string): Promise<boolean> {
  const text = `SELECT EXISTS (SELECT FROM ${session} WHERE owner = $1) AS is`
  try {
    const { rows } = await transactions.query<{ is: boolean }>(WHAT, text, [owner])
    return rows[0]?.is === true
  } catch (error) {
    if (isWithoutTables(error)) return false
    throw error
  }
}

async function remove(log: StatementRunner, session: string, owner: string): Promise<boolean> {
  const { rowCount } = await log.query(WHAT, `DELETE FROM ${session} WHERE owner = $1`, [owner])
  return rowCount > 0
}
