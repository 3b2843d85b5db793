import { postgresTransport } from '../binder/postgres/transport.ts'
import type { Transport } from '../binder/transport/transport.ts'
import { requireText } from '../core/errors.ts'
import { optionNames, refuseUnknown } from '../core/option-checks.ts'
import type { SqlClient } from '../core/sql.ts'
import type { Locks } from '../locks/lock.ts'
import { postgresLocks } from '../locks/postgres/postgres-locks.ts'
import type { ServiceIdentity } from '../service/service.ts'
import { openDataDirectory } from './data-directory.ts'
import { LazyDatabase } from './lazy-database.ts'
import { closeDatabase, openInMemory } from './open-pglite.ts'

/** Options of `embedded`. */
export interface EmbeddedOptions {
  /**
   * Folder of the database, created if missing. One process at a time can use it, even if containers or machines share the
   * folder: a second one is refused. A killed process loses nothing (PGlite does not wait for the disk, so a power failure may).
   * @default none: in memory, lost with the process
   */
  readonly dataDir?: string | undefined
}

/** An embedded database for `createService`. Several services of one process may share it. */
export interface Embedded {
  /** PGlite; opened with the first statement. */
  readonly sql: SqlClient
  /** A log in the same database: a transaction's messages are written with it. */
  readonly transport: Transport
  /** Locks in the same database. The last service that closes them also closes the database. */
  readonly locks: (identity: ServiceIdentity) => Locks
}

const NAMES = optionNames<EmbeddedOptions>({ dataDir: true })

/** Returns the same locks with another `close`. */
function closedBy(locks: Locks, close: () => Promise<void>): Locks {
  return new Proxy(locks, {
    get(target, property) {
      if (property === 'close' || property === Symbol.asyncDispose) return close
      const value: unknown = Reflect.get(target, property, target)
      return typeof value === 'function' ? (value as () => unknown).bind(target) : value
    },
  })
}

/**
 * Creates the parts of an embedded service: PGlite, `postgresTransport` and `postgresLocks` on it. Opens nothing yet.
 * @throws TypeError naming the option; the first statement throws `embedded.in_use` when another process uses the folder,
 * `embedded.foreign` when it contains other files, `embedded.unusable` when it cannot be created, read or written, or PGlite
 * cannot open its database; any statement throws `embedded.lost` when another process has taken the folder
 */
export function embedded(options: EmbeddedOptions = {}): Embedded {
  refuseUnknown('embedded', options, NAMES)
  const { dataDir } = options
  if (dataDir !== undefined) requireText('embedded.dataDir', dataDir)
  const database = new LazyDatabase(dataDir === undefined, async () => {
    if (dataDir !== undefined) return openDataDirectory(dataDir)
    const inMemory = await openInMemory()
    return { database: inMemory, close: () => closeDatabase(inMemory) }
  })
  const { sql } = database
  let users = 0
  return {
    sql,
    // A transport belongs to one binder, so each service gets its own.
    get transport() {
      return postgresTransport({ sql })
    },
    locks: ({ instance, logger, telemetry }) => {
      users++
      const locks = postgresLocks({ sql, owner: instance, logger, telemetry })
      let closed: Promise<void> | undefined
      const close = async (): Promise<void> => {
        await locks.close()
        users--
        if (users === 0) await database.close()
      }
      return closedBy(locks, () => (closed ??= close()))
    },
  }
}
