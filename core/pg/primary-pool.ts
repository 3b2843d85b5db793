/**
 * Several PostgreSQL servers of which one accepts writes: like `target_session_attrs=read-write` in libpq, which `pg` lacks. An
 * address that follows the primary (a proxy, a virtual address, DNS with a short time to live) does the same.
 */
import { hasCode, toError } from '../errors.ts'
import { hasMethods, wrongKind } from '../option-checks.ts'
import { fromDriver, READ_ONLY, throwFromConnecting } from '../sql-unavailable.ts'
import type { PgPool, PgPoolConnection } from './client.ts'

/** All of these servers are read-only at the moment: none was promoted yet. */
function onlyReads(): Error {
  const error = new Error('the server only reads (a standby): connections are made to the one that is promoted')
  return Object.assign(error, { code: READ_ONLY })
}

/**
 * The pool whose server accepts writes, as a pool for `pgClient`:
 *
 *     const pools = ['db-1', 'db-2'].map((host) => new pg.Pool({ host, connectionTimeoutMillis: 2_000, query_timeout: 10_000 }))
 *     const sql = pgClient(pgPrimary(pools))
 *
 * Each new connection is asked once whether its server is in recovery; if so, the next pool is tried and preferred from then on.
 * `connect` rejects after trying all pools, so set `connectionTimeoutMillis` on each. `pgClient` closes a connection whose server
 * turns read-only. Your failover tool must make sure that a returning old primary rejects writes. End the pools yourself.
 * @throws TypeError if it is not a list of pools
 */
export function pgPrimary(pools: readonly PgPool[]): PgPool {
  if (!isListOfPools(pools)) {
    const expected = 'a list of pools: pgPrimary([new pg.Pool({ host: "db-1" }), new pg.Pool({ host: "db-2" })])'
    throw wrongKind('pgPrimary', pools, expected)
  }
  return new PrimaryPool([...pools])
}

function isListOfPools(pools: unknown): boolean {
  return Array.isArray(pools) && pools.length > 0 && pools.every((pool) => hasMethods(pool, ['query', 'connect', 'on']))
}

class PrimaryPool implements PgPool {
  readonly options: { readonly max?: number | undefined }
  readonly #pools: readonly PgPool[]
  /** Connections whose server was found to accept writes. */
  readonly #writing = new WeakSet<PgPoolConnection>()
  #current = 0

  constructor(pools: readonly PgPool[]) {
    this.#pools = pools
    const sizes = pools.flatMap(({ options }) => options?.max ?? [])
    this.options = sizes.length === 0 ? {} : { max: Math.min(...sizes) }
  }

  async connect(): Promise<PgPoolConnection> {
    const first = this.#current
    let failure: unknown
    for (let n = 0; n < this.#pools.length; n++) {
      const index = (first + n) % this.#pools.length
      try {
        const connection = await this.#connectTo(this.#pools[index] as PgPool)
        this.#current = index
        return connection
      } catch (error) {
        // An unavailable server is a better reason than a standby that was not promoted yet.
        if (failure === undefined || hasCode(failure, READ_ONLY)) failure = error
      }
    }
    throw toError(failure)
  }

  async query(text: string, values?: unknown[]): ReturnType<PgPool['query']> {
    const connection = await this.connect()
    const heard = (): void => {}
    connection.on('error', heard)
    let failure: unknown
    try {
      return await connection.query(text, values)
    } catch (error) {
      failure = error
      throw error
    } finally {
      connection.off('error', heard)
      connection.release(failure !== undefined)
    }
  }

  /** Also `connect`, for pools that emit it. */
  on(event: 'error', listener: (error: Error) => void): this {
    for (const pool of this.#pools) pool.on(event, listener)
    return this
  }

  async #connectTo(pool: PgPool): Promise<PgPoolConnection> {
    const connection = await pool.connect().catch(throwFromConnecting)
    if (this.#writing.has(connection)) return connection
    const heard = (): void => {}
    connection.on('error', heard)
    try {
      const { rows } = await connection.query('SELECT pg_is_in_recovery() AS reads')
      if ((rows[0] as { readonly reads?: boolean } | undefined)?.reads === true) throw onlyReads()
    } catch (error) {
      connection.release(true)
      throw fromDriver(error)
    } finally {
      connection.off('error', heard)
    }
    this.#writing.add(connection)
    return connection
  }
}
