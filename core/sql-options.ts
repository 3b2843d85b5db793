/** Database, schema and listener: options of every part that has tables, defined and checked in one place. */
import { SECOND } from './clock.ts'
import { requireInteger } from './errors.ts'
import { hasMethods, wrongKind } from './option-checks.ts'
import { DEFAULT_SCHEMA, requireSqlClient, requireSqlName, type SqlClient, type SqlListener } from './sql.ts'

/** Database and schema of a part's tables. */
export interface SqlOptions {
  /**
   * The database: `pgClient(pool)` or `pgliteClient(db)`. A part that joins your transactions needs the database in which they
   * run.
   */
  readonly sql: SqlClient
  /** Schema of the part's tables. @default 'concordat' */
  readonly schema?: string | undefined
}

/**
 * Same as `SqlOptions`, for locks and for cluster state: both limit the response time of the server, and both have waiters to
 * wake.
 */
export interface SqlStoreOptions extends SqlOptions {
  /**
   * Wakes waiters and watchers at once: `pgListener({ connect })`, with a connection without a transaction pooler. Without it
   * they poll, after 5 ms at first, and finally every half second (locks) or second (state). The caller closes it. Not needed on
   * PGlite. @default none
   */
  readonly listener?: SqlListener | undefined
  /** Maximum response time of the server in ms, after which it counts as unavailable; at least 10. @default 2 seconds */
  readonly answerMs?: number | undefined
}

interface Database {
  readonly sql: SqlClient
  readonly schema: string
}

interface ResolvedSqlStore extends Database {
  readonly listener: SqlListener | undefined
  readonly answerMs: number
}

/** For the names of a part's own options. */
export const SQL_NAMES: Readonly<Record<keyof SqlOptions, true>> = { sql: true, schema: true }

/** For the names of a store's own options. */
export const SQL_STORE_NAMES: Readonly<Record<keyof SqlStoreOptions, true>> = {
  ...SQL_NAMES,
  listener: true,
  answerMs: true,
}

/** Adds the defaults. @throws TypeError with the name of the option */
export function resolveSql(path: string, { sql, schema = DEFAULT_SCHEMA }: SqlOptions): Database {
  return { sql: requireSqlClient(`${path}.sql`, sql), schema: requireSqlName(`${path}.schema`, schema) }
}

/** Same as `resolveSql` for the options of a store. @throws TypeError / RangeError with the name of the option */
export function resolveSqlStore(path: string, options: SqlStoreOptions): ResolvedSqlStore {
  return {
    ...resolveSql(path, options),
    listener: checkListener(`${path}.listener`, options.listener),
    answerMs: requireInteger(`${path}.answerMs`, options.answerMs ?? 2 * SECOND, 10),
  }
}

/** The listener of an option. @throws TypeError with the path */
export function checkListener(path: string, listener: SqlListener | undefined): SqlListener | undefined {
  if (listener === undefined || hasMethods(listener, ['listen', 'close'])) return listener
  throw wrongKind(path, listener, 'a listener such as pgListener({ connect })')
}
