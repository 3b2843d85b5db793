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
import { openInMemory } from './open-pglite.ts'

/** Options of `embedded`. */
export interface EmbeddedOptions {
  /**
   * Where everything is kept; made when it is missing. One process at a time uses it, also where containers or machines share
   * the folder: a second one is refused. A killed process loses nothing of it (PGlite does not wait for the disk, so a power
   * cut may). @default none: in memory, gone with the process
   */
  readonly dataDir?: string | undefined
}

/** An embedded database for `createService`. Several services of one process may share it. */
export interface Embedded {
  /** PGlite; opened with the first statement. */
  readonly sql: SqlClient
  /** A log in the same database: what a transaction sends is written with it. */
  readonly transport: Transport
  /** In the same database. The last service that closes them closes the database, too. */
  readonly locks: (identity: ServiceIdentity) => Locks
}

const NAMES = optionNames<EmbeddedOptions>({ dataDir: true })

/** The same locks, with another end. */
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
 * Opens nothing yet. The parts of a service that is embedded: PGlite, `postgresTransport` and `postgresLocks` on it.
 * @throws TypeError naming the option; the first statement throws `embedded.in_use` when another process uses the folder,
 *   `embedded.foreign` when it holds what is not ours, `embedded.unusable` when it cannot be made, read or written, or
 *   PGlite cannot open its database; any statement throws `embedded.lost` when another process has taken the folder
 */
export function embedded(options: EmbeddedOptions = {}): Embedded {
  refuseUnknown('embedded', options, NAMES)
  const { dataDir } = options
  if (dataDir !== undefined) requireText('embedded.dataDir', dataDir)
  const database = new LazyDatabase(dataDir === undefined, async () => {
    if (dataDir !== undefined) return openDataDirectory(dataDir)
    const inMemory = await openInMemory()
    return { database: inMemory, close: () => inMemory.close() }
  })
  const { sql } = database
  let users = 0
  return {
    sql,
    // A transport belongs to one binder: each service that takes it gets its own.
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
