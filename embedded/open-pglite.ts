import { SECOND, systemClock } from '../core/clock.ts'
import { hasCode } from '../core/errors.ts'
import type { PgliteDatabase } from '../core/pglite/pglite-client.ts'
import { finishesWithin } from '../core/time-limit.ts'

export interface OwnDatabase extends PgliteDatabase {
  /** Every statement runs through this function. */
  execProtocolRawSync(message: Uint8Array): Uint8Array
  /** Runs it and rejects with the server's error. */
  execProtocol(message: Uint8Array, options?: object): Promise<unknown>
  execProtocolStream(message: Uint8Array, options?: object): Promise<unknown>
  /** Runs it when no transaction is open, and lets none begin before it has ended. */
  _runExclusiveTransaction(work: () => Promise<void>): Promise<void>
  /** Waits until no transaction is open. */
  close(): Promise<void>
}

/** How long a close waits for a transaction that is still open: its handler was told to end before. */
const OPEN_TRANSACTION_MS = 5 * SECOND

/**
 * Closes a database. One whose transaction stays open, because its handler never returns, is abandoned: what is committed is in
 * the folder, as after a kill.
 */
export async function closeDatabase(database: OwnDatabase, clock = systemClock): Promise<void> {
  const idle = database._runExclusiveTransaction(async () => {})
  if (await finishesWithin(clock, OPEN_TRANSACTION_MS, idle)) await database.close()
}

interface Pglite {
  create(options: { readonly dataDir?: string }): Promise<OwnDatabase>
}

/**
 * Loads PGlite when it is needed: programs with their own `sql` do not need it.
 * @throws Error naming the package when it is not installed
 */
export async function loadPglite(): Promise<Pglite> {
  const { PGlite } = await import('@electric-sql/pglite').catch((error: unknown) => {
    if (!hasCode(error, 'ERR_MODULE_NOT_FOUND')) throw error
    throw new Error('embedded() needs PGlite: npm install @electric-sql/pglite', { cause: error })
  })
  return PGlite
}

/**
 * Opens a database whose commits do not write PostgreSQL's log, because it does not outlive the process. @throws the errors of
 * `loadPglite`
 */
export async function openInMemory(): Promise<OwnDatabase> {
  const database = await (await loadPglite()).create({})
  await database.query('SET synchronous_commit = off')
  return database
}
