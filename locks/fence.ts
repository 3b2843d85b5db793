import { invalidOption, requireInteger } from '../core/errors.ts'
import { migrate, type SqlPart } from '../core/migrate.ts'
import { optionNames, refuseUnknown } from '../core/option-checks.ts'
import {
  type OwnQuery,
  ownQuery,
  quoteIdentifier,
  refusePrepared,
  type SqlClient,
  type SqlTransaction,
} from '../core/sql.ts'
import { resolveSql, SQL_NAMES, type SqlOptions } from '../core/sql-options.ts'
import { LockError } from './errors.ts'
import { requireResourceName } from './options.ts'

/** Options of `createFence`: the database with the guarded effects, and the schema of the guard table `lock_fence`. */
export interface FenceOptions extends SqlOptions {}

/**
 * The second half of a lock: PostgreSQL stores the highest token per resource and refuses writes of older holders.
 *
 *     await sql.transaction(async (tx) => {
 *       await fence.check(tx, 'ledger', lease.token)      // locks the guard row until the transaction ends
 *       await tx.query('INSERT INTO ledger ...')
 *     })
 */
export interface Fence {
  /** Creates or updates the guard table. Idempotent, safe from several processes at once. */
  migrate(): Promise<void>
  /**
   * Accepts if and only if `token` is at least the highest one seen for `resource`, and stores it. Takes effect with the caller's
   * transaction, and makes later writers of the resource wait until it ends, so check and write are one step.
   * @throws `core.tables_missing`; `locks.fence_rejected` after a newer token: let it roll the transaction back;
   * `core.sql_cannot_prepare` in an XA handler
   */
  check(tx: SqlTransaction, resource: string, token: number): Promise<void>
  /** The highest token seen, or `undefined`. */
  lastToken(resource: string): Promise<number | undefined>
  /**
   * For operators: accepts only tokens of at least `token` from now on. Never lowers it. Resolves with the highest token. To
   * exclude a holder that must no longer write, raise it to that holder's token + 1.
   */
  raise(resource: string, token: number): Promise<number>
}

export const FENCE_PART: SqlPart = {
  name: 'locks',
  call: 'fence.migrate()',
  migrations: [
    {
      version: 1,
      statements: [`CREATE TABLE {schema}.lock_fence (resource text PRIMARY KEY, token bigint NOT NULL)`],
    },
  ],
}

const NAMES = optionNames<FenceOptions>(SQL_NAMES)

/** @throws TypeError naming the option */
export function createFence(options: FenceOptions): Fence {
  refuseUnknown('createFence', options, NAMES)
  const { sql, schema } = resolveSql('createFence', options)
  return new SqlFence(sql, schema)
}

class SqlFence implements Fence {
  readonly #sql: SqlClient
  readonly #schema: string
  readonly #table: string
  readonly #query: OwnQuery

  constructor(sql: SqlClient, schema: string) {
    this.#sql = sql
    this.#schema = schema
    this.#table = `${quoteIdentifier(schema)}.lock_fence`
    this.#query = ownQuery(schema, 'fence.migrate()')
  }

  migrate(): Promise<void> {
    return migrate(this.#sql, this.#schema, FENCE_PART.name, FENCE_PART.migrations)
  }

  async check(tx: SqlTransaction, resource: string, token: number): Promise<void> {
    requireResource(resource)
    requireInteger(`fence("${resource}") token`, token, 0)
    await refusePrepared(`fence("${resource}")`, tx)
    const accepted = await this.#query(
      tx,
      `INSERT INTO ${this.#table} AS guard (resource, token) VALUES ($1, $2::bigint)
       ON CONFLICT (resource) DO UPDATE SET token = EXCLUDED.token WHERE guard.token <= EXCLUDED.token`,
      [resource, String(token)],
    )
    if (accepted.rowCount > 0) return
    const last = await this.#query<{ token: string }>(
      tx,
      `SELECT token::text AS token FROM ${this.#table} WHERE resource = $1`,
      [resource],
    )
    throw new LockError('locks.fence_rejected', { resource, token, lastToken: Number(last.rows[0]?.token) })
  }

  async lastToken(resource: string): Promise<number | undefined> {
    requireResource(resource)
    const found = await this.#query<{ token: string }>(
      this.#sql,
      `SELECT token::text AS token FROM ${this.#table} WHERE resource = $1`,
      [resource],
    )
    const row = found.rows[0]
    return row === undefined ? undefined : Number(row.token)
  }

  async raise(resource: string, token: number): Promise<number> {
    requireResource(resource)
    requireInteger(`fence("${resource}") token`, token, 0)
    const raised = await this.#query<{ token: string }>(
      this.#sql,
      `INSERT INTO ${this.#table} AS guard (resource, token) VALUES ($1, $2::bigint)
       ON CONFLICT (resource) DO UPDATE SET token = greatest(guard.token, EXCLUDED.token)
       RETURNING token::text AS token`,
      [resource, String(token)],
    )
    return Number(raised.rows[0]?.token)
  }
}

/** PostgreSQL text cannot contain a NUL. @throws TypeError */
function requireResource(resource: string): void {
  requireResourceName(resource)
  if (resource.includes('\0')) throw invalidOption('fence resource', resource, 'text without NUL')
}
