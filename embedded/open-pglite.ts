import { hasCode } from '../core/errors.ts'
import type { PgliteDatabase } from '../core/pglite/pglite-client.ts'

export interface OwnDatabase extends PgliteDatabase {
  /** Every statement runs through this function. */
  execProtocolRawSync(message: Uint8Array): Uint8Array
  /** Runs it and rejects with the server's error. */
  execProtocol(message: Uint8Array, options?: object): Promise<unknown>
  execProtocolStream(message: Uint8Array, options?: object): Promise<unknown>
  close(): Promise<void>
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
