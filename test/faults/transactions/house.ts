import { setTimeout as sleep } from 'node:timers/promises'
import type { SqlClient } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { createOutbox } from 'concordat/outbox'
import { migrateParticipant } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import { undo } from 'concordat/saga/undo'
import pg from 'pg'
import { type PrivateServer, startServer } from '../../support/servers/index.ts'
import { Staff, type Lingerer as StaffLingerer, type Member as StaffMember } from '../harness/staff.ts'
import type { Setting } from '../harness/suite.ts'
import { quit } from '../store/postgres.ts'
import { createTables, HOUSES, PROTECTED, sagasOf, transferCode } from './bank.ts'
import type { Order, Role, Site, Urls } from './place.ts'
import { EACH } from './settings.ts'
import { Vault } from './vault.ts'

export type Member = StaffMember<Role, Order>
export type Lingerer = StaffLingerer<Role, Order>

export const ROLES = ['desk', ...HOUSES] as const satisfies readonly Role[]
type Each<T> = Readonly<Record<Role, T>>

interface Founding {
  /** The tables of the banks are protected by undo. */
  readonly protects: boolean
  /** The south has a vault. */
  readonly prepares: boolean
}

const WORKER = new URL('./worker.ts', import.meta.url)
/** Servers that may not lose confirmed data, and hold prepared transactions. */
const SETTINGS = { fsync: 'on', max_connections: '200', max_prepared_transactions: '100' }
/** Time in which the processes' answers arrive. */
const EXPLAIN_MS = 500

/** The servers and the processes of a run, and the hand that starts transfers and reads the tables. */
export class House {
  readonly servers: Each<PrivateServer>
  readonly sql: Each<SqlClient>
  /** The vault, when a kind uses XA. */
  readonly vault: Vault | undefined
  /** Starts and cancels, and never drives: that is for the workers. */
  readonly coordinator: ReturnType<typeof createCoordinator>
  readonly sagas = sagasOf('run')
  readonly staff: Staff<Role, Order>
  readonly #pools: readonly pg.Pool[]

  private constructor(setting: Setting, servers: Each<PrivateServer>, vault: Vault | undefined) {
    this.servers = servers
    this.vault = vault
    const { desk, north, south } = servers
    const urls: Urls = { desk: desk.url, north: north.url, south: south.url, vault: vault?.server.url }
    const pools = { desk: openPool(urls.desk), north: openPool(urls.north), south: openPool(urls.south) }
    this.#pools = Object.values(pools)
    this.sql = { desk: pgClient(pools.desk), north: pgClient(pools.north), south: pgClient(pools.south) }
    this.staff = new Staff<Role, Order>(setting, WORKER, {
      begin: (place) => ({ do: 'begin', ...place, urls }),
      linger: (ms, blocks) => ({ do: 'linger', ms, blocks }),
    })
    const { desk: sql } = this.sql
    const outbox = createOutbox({ sql, service: 'bank' })
    const sagas = [...this.sagas, transferCode]
    this.coordinator = createCoordinator({ service: 'bank', sql, outbox, instance: 'run', sagas })
  }

  static async open(setting: Setting, { protects, prepares }: Founding): Promise<House> {
    const { signal } = setting
    const vault = prepares ? await Vault.open(signal) : undefined
    const started = await Promise.allSettled(ROLES.map(() => startServer('postgres', { settings: SETTINGS, signal })))
    const servers = started.flatMap((start) => (start.status === 'fulfilled' ? [start.value] : []))
    let house: House | undefined
    try {
      const failed = started.find((start) => start.status === 'rejected')
      if (failed !== undefined) throw failed.reason
      const [desk, north, south] = servers as [PrivateServer, PrivateServer, PrivateServer]
      house = new House(setting, { desk, north, south }, vault)
      await house.#found(protects)
      return house
    } catch (error) {
      await (house?.close() ?? Promise.all([...servers.map((server) => server.stop()), vault?.close()]))
      throw error
    }
  }

  /** Stops a server at once, and starts it again after a while. @returns whether it is another process now */
  async restart(site: Site, awayMs: number): Promise<boolean> {
    const server = site === 'vault' ? this.#requireVault().server : this.servers[site]
    const { pid } = server
    this.staff.note('fault', `the server of ${site} is stopped at once`)
    // PostgreSQL has a signal for it; MariaDB is killed.
    if (site !== 'vault') await quit(pid)
    await server.kill()
    await sleep(awayMs)
    await server.start()
    this.staff.note('healed', `the server of ${site} answers`)
    return server.pid !== pid
  }

  /** Servers that the run can stop. */
  sites(): readonly Site[] {
    return this.vault === undefined ? ROLES : [...ROLES, 'vault']
  }

  /** Names of the prepared transactions on a server. */
  async prepared(site: Site): Promise<readonly string[]> {
    if (site === 'vault') return this.#requireVault().prepared()
    const { rows } = await this.sql[site].query<{ gid: string }>('SELECT gid FROM pg_prepared_xacts ORDER BY prepared')
    return rows.map(({ gid }) => gid)
  }

  /** Number of transfers that have not ended; infinite when the database does not answer. */
  async open(): Promise<number> {
    return (await this.#count('')) ?? Number.POSITIVE_INFINITY
  }

  /** Number of transactions that wait for an operator and will not end by themselves. */
  async stuck(): Promise<number> {
    return (await this.#count(`AND status = 'stuck'`)) ?? 0
  }

  /** Messages that have not left. */
  async outgoing(): Promise<number> {
    const counts = await Promise.all(
      ROLES.map(async (role) => {
        const schema = role === 'desk' ? 'concordat' : role
        const text = `SELECT count(*)::int AS n FROM ${schema}.outbox`
        const found = await this.sql[role].query<{ n: number }>(text).catch(() => undefined)
        return found?.rows[0]?.n ?? 1
      }),
    )
    return counts.reduce((sum, n) => sum + n, 0)
  }

  /** Writes down what each process is doing, when nothing moves any longer. */
  async explain(): Promise<void> {
    this.staff.order({ do: 'tell' })
    const text = `SELECT name, id, status, owner, epoch::text, due_at, state FROM concordat.saga WHERE ended_at IS NULL LIMIT 20`
    const found = await this.sql.desk.query(text).catch(() => undefined)
    for (const row of found?.rows ?? []) this.staff.note('act', `open: ${JSON.stringify(row)}`)
    await sleep(EXPLAIN_MS)
  }

  async close(): Promise<void> {
    await this.staff.close()
    await this.coordinator.close().catch(() => {})
    await Promise.all(this.#pools.map((pool) => pool.end().catch(() => {})))
    await Promise.all([...Object.values(this.servers).map((server) => server.stop()), this.vault?.close()])
    await this.staff.dismiss()
  }

  #requireVault(): Vault {
    if (this.vault === undefined) throw new Error('this run has no vault')
    return this.vault
  }

  async #count(more: string): Promise<number | undefined> {
    const text = `SELECT count(*)::int AS n FROM concordat.saga WHERE ended_at IS NULL ${more}`
    const found = await this.sql.desk.query<{ n: number }>(text).catch(() => undefined)
    return found?.rows[0]?.n
  }

  async #found(protects: boolean): Promise<void> {
    for (const role of ROLES) await createTables(this.sql[role])
    await createOutbox({ sql: this.sql.desk, service: 'bank' }).migrate()
    await this.coordinator.migrate()
    for (const house of HOUSES) {
      const sql = this.sql[house]
      await createOutbox({ sql, service: house, schema: house }).migrate()
      await migrateParticipant(sql, house)
      if (protects) await undo.protect(sql, PROTECTED, { schema: house })
    }
    await this.staff.hireAll(ROLES.flatMap((role) => Array.from({ length: EACH }, () => role)))
  }
}

function openPool(connectionString: string): pg.Pool {
  const pool = new pg.Pool({ connectionString, max: 8, connectionTimeoutMillis: 3_000, query_timeout: 5_000 })
  pool.on('error', () => {})
  return pool
}
