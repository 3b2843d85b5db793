import { setTimeout as sleep } from 'node:timers/promises'
import type { SqlClient } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { createOutbox } from 'concordat/outbox'
import { migrateParticipant } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import pg from 'pg'
import {
  type PrivateServer,
  type ServerClock,
  serverClock,
  serverClockLack,
  startServer,
} from '../../support/servers/index.ts'
import { describe } from '../harness/errors.ts'
import { Staff, type Lingerer as StaffLingerer, type Member as StaffMember } from '../harness/staff.ts'
import type { Setting } from '../harness/suite.ts'
import { createBank, transferSaga } from './bank.ts'
import { createUnchecked } from './broken.ts'
import type { BrokerKind, Order, Place, Role } from './place.ts'
import { COORDINATORS, PARTICIPANTS } from './settings.ts'

export type Member = StaffMember<Role, Order>
export type Lingerer = StaffLingerer<Role, Order>

const WORKER = new URL('./worker.ts', import.meta.url)
/** Time in which the processes' answers arrive. */
const EXPLAIN_MS = 500

/** Servers that another part of the run starts, breaks and stops. */
export interface Elsewhere {
  readonly place: Place
  readonly coordinators: number
  /** Participants of each of the two services. */
  readonly participants: number
}

/** The servers and the nine processes of a run, and the hand that starts transfers and reads the tables. */
export class Company {
  readonly here: SqlClient
  readonly there: SqlClient
  /** Starts and cancels, and never drives: that is for the workers. */
  readonly desk: ReturnType<typeof createCoordinator>
  readonly saga = transferSaga('desk', () => Promise.resolve())
  readonly #setting: Setting
  readonly #place: Place
  readonly #staff: Staff<Role, Order>
  readonly #pools: readonly pg.Pool[]
  readonly #servers: readonly PrivateServer[]
  readonly #clock: ServerClock | undefined
  #steppedAt = Number.NEGATIVE_INFINITY

  private constructor(setting: Setting, place: Place, servers: readonly PrivateServer[], clock?: ServerClock) {
    this.#setting = setting
    this.#clock = clock
    this.#place = place
    this.#servers = servers
    const pools = [this.#place.here, this.#place.there].map(openPool) as [pg.Pool, pg.Pool]
    this.#pools = pools
    this.here = pgClient(pools[0])
    this.there = pgClient(pools[1])
    this.#staff = new Staff<Role, Order>(setting, WORKER, {
      begin: (place) => ({ do: 'begin', ...place, place: this.#place }),
      linger: (ms, blocks) => ({ do: 'linger', ms, blocks }),
    })
    const outbox = createOutbox({ sql: this.here, service: 'bank' })
    this.desk = createCoordinator({ service: 'bank', sql: this.here, outbox, instance: 'desk', sagas: [this.saga] })
  }

  static async open(setting: Setting): Promise<Company> {
    const { signal } = setting
    const kind = setting.transport as BrokerKind
    // On PostgreSQL alone it is a single server, which may not lose confirmed data.
    const settings = { fsync: kind === 'postgres' ? 'on' : 'off', max_connections: '300' }
    const clock = serverClockLack() === undefined ? await serverClock() : undefined
    const started = await Promise.allSettled([
      startServer('postgres', { settings, signal, ...(clock !== undefined && { env: clock.env }) }),
      ...(kind === 'postgres' ? [] : [startServer(kind, { signal })]),
    ])
    const servers = started.flatMap((start) => (start.status === 'fulfilled' ? [start.value] : []))
    let company: Company | undefined
    try {
      const failed = started.find((start) => start.status === 'rejected')
      if (failed !== undefined) throw failed.reason
      const [postgres, broker = postgres] = servers as [PrivateServer, PrivateServer?]
      company = new Company(setting, placeOf(postgres, broker), servers, clock)
      await company.#found(COORDINATORS, PARTICIPANTS)
      return company
    } catch (error) {
      await (company?.close() ?? Promise.all(servers.map((server) => server.stop())))
      if (company === undefined) clock?.dispose()
      throw error
    }
  }

  /** Opens the company on running servers, where it creates the databases. */
  static async at({ place, coordinators, participants }: Elsewhere, setting: Setting): Promise<Company> {
    const company = new Company(setting, place, [])
    try {
      await company.#found(coordinators, participants)
      return company
    } catch (error) {
      await company.close()
      throw error
    }
  }

  get postgres(): PrivateServer {
    return this.#server(0)
  }

  /** Time of the last step of the databases' clock, by the monotonic clock. */
  get steppedAt(): number {
    return this.#steppedAt
  }

  get broker(): PrivateServer {
    return this.#server(this.#servers.length - 1)
  }

  get histories(): readonly string[] {
    return this.#staff.histories
  }

  get members(): readonly Member[] {
    return this.#staff.members
  }

  of(role: Role): readonly Member[] {
    return this.#staff.of(role)
  }

  note(op: 'act' | 'fault' | 'killed' | 'healed', text: string): number {
    return this.#staff.note(op, text)
  }

  order(order: Order): void {
    this.#staff.order(order)
  }

  kill(member: Member): Promise<void> {
    return this.#staff.kill(member)
  }

  hire(role: Role): Promise<Member> {
    return this.#staff.hire(role)
  }

  lingerer(among: readonly Member[], ms: number, blocks: boolean): Promise<Lingerer> {
    return this.#staff.lingerer(among, ms, blocks)
  }

  /** Sets the clock of the databases. @param offsetMs ahead of the machine's, from now on */
  shiftClock(offsetMs: number): void {
    if (this.#clock === undefined) throw new Error('the servers have no clock of their own')
    this.#clock.shift(offsetMs)
    this.#steppedAt = performance.now()
  }

  /** Writes down what each process is doing, when nothing moves any longer. */
  async explain(): Promise<void> {
    this.order({ do: 'tell' })
    for (const [sql, schema] of [
      [this.here, 'concordat'],
      [this.here, 'debit'],
      [this.there, 'credit'],
    ] as const) {
      const text = `SELECT partition, owner, epoch::text, (SELECT json_agg(o) FROM (
          SELECT aggregatetype, count(*)::int AS waiting, max(attempts) AS attempts, max(last_error) AS error
          FROM ${schema}.outbox WHERE partition = lease.partition GROUP BY 1) o) AS left
        FROM ${schema}.outbox_lease lease ORDER BY partition`
      const found = await sql.query(text).catch(describe)
      this.note('act', `outbox of ${schema}: ${JSON.stringify(typeof found === 'string' ? found : found.rows)}`)
    }
    await sleep(EXPLAIN_MS)
  }

  deserters(): readonly Member[] {
    return this.#staff.deserters()
  }

  async close(): Promise<void> {
    await this.#staff.close()
    await this.desk.close().catch(() => {})
    await Promise.all(this.#pools.map((pool) => pool.end().catch(() => {})))
    await Promise.all(this.#servers.map((server) => server.stop()))
    this.#clock?.dispose()
    await this.#staff.dismiss()
  }

  #server(n: number): PrivateServer {
    const server = this.#servers[n]
    if (server === undefined) throw new Error('the servers are elsewhere')
    return server
  }

  async #found(coordinators: number, participants: number): Promise<void> {
    await this.here.query(`CREATE DATABASE ${new URL(this.#place.there).pathname.slice(1)}`)
    await createOutbox({ sql: this.here, service: 'bank' }).migrate()
    await this.desk.migrate()
    if (this.#setting.broken === 'no-epoch') await createUnchecked(this.here)
    for (const [sql, schema] of [
      [this.here, 'debit'],
      [this.there, 'credit'],
    ] as const) {
      await createBank(sql)
      await createOutbox({ sql, service: schema, schema }).migrate()
      await migrateParticipant(sql, schema)
    }
    const roles: Role[] = []
    for (let n = 0; n < coordinators; n++) roles.push('coordinator')
    for (let n = 0; n < participants; n++) roles.push('debit', 'credit')
    await this.#staff.hireAll(roles)
  }
}

function placeOf(postgres: PrivateServer, broker: PrivateServer): Place {
  const there = new URL(postgres.url)
  there.pathname = '/there'
  return { here: postgres.url, there: there.href, broker: { kind: broker.kind as BrokerKind, url: broker.url } }
}

function openPool(connectionString: string): pg.Pool {
  const pool = new pg.Pool({ connectionString, max: 8, connectionTimeoutMillis: 3_000, query_timeout: 5_000 })
  pool.on('error', () => {})
  return pool
}
