import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { SqlClient } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { createOutbox } from 'concordat/outbox'
import { createCoordinator, migrateParticipant } from 'concordat/saga'
import pg from 'pg'
import { type PrivateServer, startServer } from '../../support/servers/index.ts'
import type { Actor } from '../harness/actor.ts'
import { Crew } from '../harness/crew.ts'
import { describe } from '../harness/errors.ts'
import { type Event, EventLog, nowMs } from '../harness/events.ts'
import { Reaper } from '../harness/reaper.ts'
import type { Setting } from '../harness/suite.ts'
import { createBank, transferSaga } from './bank.ts'
import { createUnchecked } from './broken.ts'
import type { BrokerKind, Order, Place, Role } from './place.ts'
import { COORDINATORS, PARTICIPANTS } from './settings.ts'

export interface Member {
  readonly role: Role
  readonly name: string
  readonly actor: Actor<Order>
}

/** One in the middle of a transaction, and what it is about to commit. */
export interface Lingerer {
  readonly member: Member
  readonly key: string
  readonly operation: string
}

const WORKER = new URL('./worker.ts', import.meta.url)
/** Processes that are started ahead: as many as die at a time. */
const SPARE = 2
const BEGINS_WITHIN_MS = 60_000
/** Time for what they say to arrive. */
const EXPLAIN_MS = 500

/** The servers and the nine processes of a run, and the hand that starts transfers and reads the tables. */
export class Company {
  readonly postgres: PrivateServer
  readonly broker: PrivateServer
  readonly here: SqlClient
  readonly there: SqlClient
  readonly histories: string[] = []
  /** Starts and cancels, and never drives: that is for the workers. */
  readonly desk: ReturnType<typeof createCoordinator>
  readonly saga = transferSaga('desk', () => Promise.resolve())
  readonly #setting: Setting
  readonly #place: Place
  readonly #crew: Crew<Order>
  readonly #reaper: Reaper
  readonly #pools: readonly pg.Pool[]
  readonly #log: EventLog
  #members: Member[] = []
  #hired = 0

  private constructor(setting: Setting, servers: readonly PrivateServer[], hands: Hands) {
    const [postgres, broker = postgres] = servers
    if (postgres === undefined || broker === undefined) throw new Error('no server')
    this.postgres = postgres
    this.broker = broker
    this.#setting = setting
    this.#place = placeOf(postgres, broker)
    this.#crew = hands.crew
    this.#reaper = hands.reaper
    const pools = [this.#place.here, this.#place.there].map(openPool) as [pg.Pool, pg.Pool]
    this.#pools = pools
    this.here = pgClient(pools[0])
    this.there = pgClient(pools[1])
    const history = join(setting.folder, 'run.jsonl')
    this.histories.push(history)
    this.#log = new EventLog(history, 'run', () => {})
    const outbox = createOutbox({ sql: this.here, service: 'bank' })
    this.desk = createCoordinator({ service: 'bank', sql: this.here, outbox, instance: 'desk', sagas: [this.saga] })
  }

  static async open(setting: Setting): Promise<Company> {
    const reaper = new Reaper()
    const hands = { reaper, crew: new Crew<Order>(WORKER, reaper) }
    const { signal } = setting
    const kind = setting.transport as BrokerKind
    // On PostgreSQL alone it is one server, which may not forget what it has confirmed.
    const settings = { fsync: kind === 'postgres' ? 'on' : 'off', max_connections: '300' }
    const started = await Promise.allSettled([
      startServer('postgres', { settings, signal }),
      ...(kind === 'postgres' ? [] : [startServer(kind, { signal })]),
    ])
    const servers = started.flatMap((start) => (start.status === 'fulfilled' ? [start.value] : []))
    let company: Company | undefined
    try {
      const failed = started.find((start) => start.status === 'rejected')
      if (failed !== undefined) throw failed.reason
      company = new Company(setting, servers, hands)
      await company.#found()
      return company
    } catch (error) {
      await (company?.close() ?? Promise.all([...servers.map((server) => server.stop()), reaper.dismiss()]))
      throw error
    }
  }

  get members(): readonly Member[] {
    return this.#members
  }

  of(role: Role): readonly Member[] {
    return this.#members.filter((member) => member.role === role)
  }

  note(op: 'act' | 'fault' | 'killed' | 'healed', text: string): number {
    this.#log.note(op, { text })
    return nowMs()
  }

  order(order: Order): void {
    for (const { actor } of this.#members) actor.order(order)
  }

  /** `kill -9`. */
  async kill(member: Member): Promise<void> {
    this.#members = this.#members.filter((each) => each !== member)
    this.note('killed', `${member.name}, ${member.role}`)
    await member.actor.kill()
    this.#crew.prepare(SPARE)
  }

  /** Another in the place of one that was killed. */
  async hire(role: Role): Promise<Member> {
    const [actor] = this.#crew.take(1)
    if (actor === undefined) throw new Error('no worker')
    const name = `${role}-${++this.#hired}`
    const history = join(this.#setting.folder, `${name}.jsonl`)
    this.histories.push(history)
    const { seed, broken } = this.#setting
    const began = actor.next(`${name} begins`, ({ op }) => op === 'began', BEGINS_WITHIN_MS)
    actor.order({ do: 'begin', role, name, place: this.#place, history, broken, seed: `${seed} ${name}` })
    const member = { role, name, actor }
    this.#members.push(member)
    await began
    return member
  }

  /**
   * The first of these that gets into the middle of a transaction, and stands still there for so long, deaf when it
   * `blocks`. Others that got there meanwhile are told to go on; a deaf one is late for as long.
   */
  async lingerer(among: readonly Member[], ms: number, blocks: boolean): Promise<Lingerer> {
    const found = Promise.withResolvers<{ member: Member; event: Event }>()
    const unwatch = among.map((member) =>
      member.actor.watch((event) => void (event.op === 'lingers' && found.resolve({ member, event }))),
    )
    const timer = setTimeout(() => found.reject(new Error('nobody has anything to do')), BEGINS_WITHIN_MS)
    for (const { actor } of among) actor.order({ do: 'linger', ms, blocks })
    try {
      const { member, event } = await found.promise
      for (const each of among) if (each !== member) each.actor.order({ do: 'linger', ms: 0, blocks })
      return { member, key: event.key ?? '', operation: event.mode ?? '' }
    } finally {
      clearTimeout(timer)
      for (const stop of unwatch) stop()
    }
  }

  /** Writes down what everybody is at: nothing moves any more. */
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

  /** Processes that ended and were not killed. */
  deserters(): readonly Member[] {
    return this.#members.filter(({ actor }) => !actor.isAlive)
  }

  async close(): Promise<void> {
    await this.#crew.close()
    await this.desk.close().catch(() => {})
    await Promise.all(this.#pools.map((pool) => pool.end().catch(() => {})))
    await Promise.all([...new Set([this.postgres, this.broker])].map((server) => server.stop()))
    await this.#reaper.dismiss()
    this.#log.close()
  }

  async #found(): Promise<void> {
    this.#crew.prepare(COORDINATORS + 2 * PARTICIPANTS)
    await this.here.query('CREATE DATABASE there')
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
    for (let n = 0; n < COORDINATORS; n++) roles.push('coordinator')
    for (let n = 0; n < PARTICIPANTS; n++) roles.push('debit', 'credit')
    await Promise.all(roles.map((role) => this.hire(role)))
    this.#crew.prepare(SPARE)
  }
}

interface Hands {
  readonly crew: Crew<Order>
  readonly reaper: Reaper
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
