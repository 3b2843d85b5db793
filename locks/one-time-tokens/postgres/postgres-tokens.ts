import { ConcordatError, said, toError } from '../../../core/errors.ts'
import { migrate } from '../../../core/migrate.ts'
import { optionNames, refuseUnknown } from '../../../core/option-checks.ts'
import { type OwnQuery, ownQuery, quoteIdentifier, type SqlClient, type SqlTransaction } from '../../../core/sql.ts'
import { resolveSql, SQL_NAMES, type SqlOptions } from '../../../core/sql-options.ts'
import { writeFault, writeOutcome } from '../../../core/write-fault.ts'
import { TokenError } from '../errors.ts'
import { REMEMBERED_MS, type TokenRecord, type TokenStore, type TokenTaken } from '../store.ts'
import { TOKEN_PART } from './tables.ts'

/** Options of `postgresTokens`. */
export interface PostgresTokensOptions extends SqlOptions {}

/** Tokens in a PostgreSQL. */
export interface PostgresTokens extends TokenStore {
  /** Makes or upgrades the table. Idempotent, safe in several processes at once. */
  migrate(): Promise<void>
}

const NAMES = optionNames<PostgresTokensOptions>(SQL_NAMES)

/** How many that are over each new token takes away: more than one, so that they do not pile up; few, so that it is quick. */
const SWEPT = 10

interface Found {
  readonly payload: string | null
  readonly isUsed: boolean
  readonly isExpired: boolean
}

/** @throws TypeError naming the option */
export function postgresTokens(options: PostgresTokensOptions): PostgresTokens {
  refuseUnknown('postgresTokens', options, NAMES)
  const { sql, schema } = resolveSql('postgresTokens', options)
  return new TableTokenStore(sql, schema)
}

class TableTokenStore implements PostgresTokens {
  readonly name = 'postgres'
  readonly joinsTransactions = true
  readonly #sql: SqlClient
  readonly #schema: string
  readonly #table: string
  readonly #query: OwnQuery

  constructor(sql: SqlClient, schema: string) {
    this.#sql = sql
    this.#schema = schema
    this.#table = `${quoteIdentifier(schema)}.one_time_token`
    this.#query = ownQuery(schema, TOKEN_PART.call)
  }

  migrate(): Promise<void> {
    return migrate(this.#sql, this.#schema, TOKEN_PART.name, TOKEN_PART.migrations)
  }

  async put({ hash, purpose, payload, ttlMs }: TokenRecord, tx?: SqlTransaction): Promise<number> {
    const rows = await this.#ask<{ expiresAt: number }>(
      tx,
      `WITH over AS (
         DELETE FROM ${this.#table} WHERE ctid = ANY(ARRAY(
           SELECT ctid FROM ${this.#table}
           WHERE expires_at < (SELECT clock_timestamp() - ${REMEMBERED_MS} * interval '1 ms')
           ORDER BY expires_at LIMIT ${SWEPT} FOR UPDATE SKIP LOCKED))
       ), clock AS MATERIALIZED (SELECT clock_timestamp() AS now)
       INSERT INTO ${this.#table} (hash, purpose, payload, issued_at, expires_at)
       SELECT $1, $2, $3, now, now + $4::float8 * interval '1 ms' FROM clock
       RETURNING floor(extract(epoch FROM expires_at) * 1000)::float8 AS "expiresAt"`,
      [hash, purpose, payload, ttlMs],
    )
    return (rows[0] as { expiresAt: number }).expiresAt
  }

  /** Locks the row before reading it: the second caller waits, and finds it used, or unchanged if the first rolled back. */
  async take(hash: string, tx?: SqlTransaction): Promise<TokenTaken> {
    const rows = await this.#ask<Found>(
      tx,
      `WITH found AS MATERIALIZED (
         SELECT hash, payload, used_at IS NOT NULL AS used, expires_at <= clock_timestamp() AS expired
         FROM ${this.#table} WHERE hash = $1 FOR UPDATE
       ), taken AS (
         UPDATE ${this.#table} t SET used_at = clock_timestamp(), payload = NULL
         FROM found WHERE t.hash = found.hash AND NOT found.used AND NOT found.expired RETURNING 1
       )
       SELECT payload, used AS "isUsed", expired OR NOT EXISTS (SELECT 1 FROM taken) AS "isExpired" FROM found`,
      [hash],
    )
    const found = rows[0]
    if (found === undefined) return { outcome: 'unknown' }
    if (found.isUsed || found.payload === null) return { outcome: 'used' }
    return found.isExpired ? { outcome: 'expired' } : { outcome: 'taken', payload: found.payload }
  }

  /** In a transaction of the caller its errors are the caller's: it decides what becomes of the rest. */
  async #ask<Row extends object>(
    tx: SqlTransaction | undefined,
    text: string,
    values: readonly unknown[],
  ): Promise<readonly Row[]> {
    if (tx !== undefined) return (await this.#query<Row>(tx, text, [...values])).rows
    try {
      return (await this.#query<Row>(this.#sql, text, [...values])).rows
    } catch (error) {
      throw translated(error)
    }
  }

  /** The pool stays the caller's. */
  async close(): Promise<void> {}
}

function translated(error: unknown): Error {
  const cause = toError(error)
  // Missing tables, and a call that would wait for the caller's own transaction.
  if (cause instanceof ConcordatError) return cause
  const outcome = writeOutcome(error)
  const isAway = outcome !== 'refused' || writeFault(error) === 'unavailable'
  if (!isAway) return new TokenError('tokens.store_refused', { store: 'postgres' }, cause)
  return new TokenError(
    'tokens.store_unavailable',
    { store: 'postgres', outcome: outcome === 'refused' ? 'unknown' : outcome, detail: said(cause, 'message') },
    error,
  )
}
