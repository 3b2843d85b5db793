import { newId } from '../../core/ids.ts'
import type { Database } from './database.ts'
import { failure, isWithoutTables } from './failure.ts'
import type { TransportTables } from './tables.ts'

/**
 * Looks whether the transactions are in the database of the log: what is written here has to be seen there. Names and numbers
 * would say nothing of two copies. What such transactions send would lie in a log of theirs, for others.
 * @throws TransportError `mismatch` when they are not
 */
export async function requireOneDatabase(
  log: Database,
  transactions: Database,
  { session }: TransportTables,
): Promise<void> {
  const owner = `look/${newId()}`
  const what = 'look whether transactionsOf is in the database of the log'
  await log.query(what, `INSERT INTO ${session} (owner, live_until) VALUES ($1, '-infinity')`, [owner])
  try {
    const seen = transactions.query<{ is: boolean }>(
      what,
      `SELECT EXISTS (SELECT FROM ${session} WHERE owner = $1) AS is`,
      [owner],
    )
    const { rows } = await seen.catch((error: unknown) => {
      if (isWithoutTables(error)) return { rows: [] }
      throw error
    })
    if (rows[0]?.is === true) return
  } finally {
    await log.query(what, `DELETE FROM ${session} WHERE owner = $1`, [owner]).catch(() => undefined)
  }
  throw failure(
    'mismatch',
    'postgresTransport.transactionsOf: expected a client of the database of `sql`, got one of another: what its transactions ' +
      'send would not be in this log. Give both pools one address, or leave transactionsOf out and let the relay send',
  )
}
