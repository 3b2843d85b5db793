import { hasCode } from '../core/errors.ts'
import type { PgliteDatabase } from '../core/pglite/pglite-client.ts'

export interface OwnDatabase extends PgliteDatabase {
  close(): Promise<void>
}

/**
 * Loaded when it is needed: who gives `sql` of their own needs no PGlite.
 * @param dataDir in memory without
 * @throws Error naming the package when it is not installed
 */
export async function openPglite(dataDir: string | undefined): Promise<OwnDatabase> {
  const { PGlite } = await import('@electric-sql/pglite').catch((error: unknown) => {
    if (!hasCode(error, 'ERR_MODULE_NOT_FOUND')) throw error
    throw new Error('embedded() needs PGlite: npm install @electric-sql/pglite', { cause: error })
  })
  return PGlite.create(dataDir === undefined ? {} : { dataDir })
}
