import pg from 'pg'
import type { PrivateServer } from '../test/support/servers/private-server.ts'
import { startServer } from '../test/support/servers/start.ts'
import { cpuUsOfTree } from './cpu.ts'

/** Counters of one database and of its server, since the server was started. */
export interface PostgresCounters {
  readonly commits: number
  /** Inserted, updated, deleted. */
  readonly rows: number
  readonly walBytes: number
}

/**
 * A PostgreSQL of the bench's own, so that its counters hold nothing else. `fsync`, `full_page_writes` and
 * `synchronous_commit` are on, everything else is as PostgreSQL comes.
 */
export class PostgresBed implements AsyncDisposable {
  readonly #server: PrivateServer
  readonly #admin: pg.Pool

  private constructor(server: PrivateServer) {
    this.#server = server
    this.#admin = new pg.Pool({ connectionString: server.url, max: 1 })
    this.#admin.on('error', () => {})
  }

  /**
   * @param settings beside these
   * @throws ServerUnavailable when this machine has no PostgreSQL
   */
  static async open(settings: Readonly<Record<string, string>> = {}): Promise<PostgresBed> {
    const on = { fsync: 'on', synchronous_commit: 'on', full_page_writes: 'on' }
    return new PostgresBed(await startServer('postgres', { settings: { ...on, ...settings } }))
  }

  get pid(): number {
    return this.#server.pid
  }

  /** Kills the server and starts it again on the same data. */
  async restart(): Promise<void> {
    await this.#server.kill()
    await this.#server.start()
  }

  /**
   * Ends sessions of a database.
   * @param options.share of its sessions @param options.except leaves those with this `application_name` alone
   */
  async terminate(database: string, { share = 1, except = '' } = {}): Promise<void> {
    await this.#admin.query(
      `SELECT pg_terminate_backend(pid) FROM (
         SELECT pid, (row_number() OVER (ORDER BY pid) - 1.0) / count(*) OVER () AS rank FROM pg_stat_activity
         WHERE datname = $1 AND application_name IS DISTINCT FROM $2) s
       WHERE rank < $3`,
      [database, except, share],
    )
  }

  /** Makes a database; returns its address. */
  async database(name: string): Promise<string> {
    await this.#admin.query(`CREATE DATABASE ${name}`)
    const url = new URL(this.#server.url)
    url.pathname = `/${name}`
    return url.href
  }

  /** Asked from another database, so that asking counts nothing. */
  async counters(database: string): Promise<PostgresCounters> {
    const { rows } = await this.#admin.query<PostgresCounters>(
      `SELECT xact_commit::float8 AS commits, (tup_inserted + tup_updated + tup_deleted)::float8 AS rows,
         (pg_current_wal_insert_lsn() - '0/0')::float8 AS "walBytes"
       FROM pg_stat_database WHERE datname = $1`,
      [database],
    )
    return rows[0] ?? { commits: Number.NaN, rows: Number.NaN, walBytes: Number.NaN }
  }

  /** CPU time of all its processes. */
  cpuUs(): number {
    return cpuUsOfTree(this.pid)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#admin.end()
    await this.#server.stop()
  }
}
