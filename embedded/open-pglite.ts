import { hasCode } from '../core/errors.ts'
import type { PgliteDatabase } from '../core/pglite/pglite-client.ts'

export interface OwnDatabase extends PgliteDatabase {
  /** The one way into the database: whatever is run is run by it. */
  execProtocolRawSync(message: Uint8Array): Uint8Array
  /** Runs it and rejects with what the server refused. */
  execProtocol(message: Uint8Array, options?: object): Promise<unknown>
  execProtocolStream(message: Uint8Array, options?: object): Promise<unknown>
  close(): Promise<void>
}

interface Pglite {
  create(options: { readonly dataDir?: string }): Promise<OwnDatabase>
}

/**
 * Loaded when it is needed: who gives `sql` of their own needs no PGlite.
 * @throws Error naming the package when it is not installed
 */
export async function loadPglite(): Promise<Pglite> {
  const { PGlite } = await import('@electric-sql/pglite').catch((error: unknown) => {
    if (!hasCode(error, 'ERR_MODULE_NOT_FOUND')) throw error
    throw new Error('embedded() needs PGlite: npm install @electric-sql/pglite', { cause: error })
  })
  return PGlite
}

/** Opens a database whose commits do not write PostgreSQL's log: nothing of it outlives the process. @throws as `loadPglite` */
export async function openInMemory(): Promise<OwnDatabase> {
  const database = await (await loadPglite()).create({})
  await database.query('SET synchronous_commit = off')
  return database
}
