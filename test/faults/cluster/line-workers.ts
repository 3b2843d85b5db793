import { join } from 'node:path'
import { pgClient } from 'concordat/core/pg'
import { createFence } from 'concordat/locks'
import { createInbox, createOutbox } from 'concordat/outbox'
import type pg from 'pg'
import { type Event, operationsOf } from '../harness/events.ts'
import { Staff } from '../harness/staff.ts'
import type { InvariantVerdict, Setting } from '../harness/suite.ts'
import { Verdicts } from '../harness/verdicts.ts'
import { judgeFence, judgeMessages, judgeProcesses } from './judge.ts'
import type { Line } from './line.ts'
import type { Order, Place, Role } from './place.ts'
import { untilQuiet } from './quiet.ts'
import { CONSUMERS, CONTENDERS, MORE_PARTITIONS, PARTITIONS, QUIET, QUIET_WITHIN_MS, SENDERS } from './settings.ts'
import { createTables, type Parcel, poolAt, readTables, SCHEMA, SERVICE } from './tables.ts'

const WORKER = new URL('./worker.ts', import.meta.url)
const COUNTS = {
  messages: 'SELECT count(*)::int AS n FROM handled',
  locks: 'SELECT count(*)::int AS n FROM fenced',
} as const
/** Query for messages that are not handled; none may be left. */
const UNHANDLED = `SELECT count(*)::int AS n FROM parcel
  WHERE NOT EXISTS (SELECT FROM handled WHERE handled.key = parcel.key AND handled.n = parcel.n)`

/** Messages with outbox and inbox, or holders of a lock and a role with a fence: processes of their own. */
export class WorkersLine implements Line {
  readonly name: 'messages' | 'locks'
  readonly #staff: Staff<Role, Order>
  readonly #pool: pg.Pool
  readonly #absent: string[] = []
  readonly #moved: string[] = []
  #partitions = PARTITIONS

  private constructor(name: 'messages' | 'locks', place: Place, setting: Setting) {
    this.name = name
    this.#pool = poolAt(place.postgresUrl, 3)
    this.#staff = new Staff<Role, Order>({ ...setting, folder: join(setting.folder, name) }, WORKER, {
      begin: (post) => ({ do: 'begin', ...post, place, partitions: this.#partitions }),
      // This line has no linger order.
      linger: () => ({ do: 'rest' }),
    })
  }

  static async open(name: 'messages' | 'locks', place: Place, setting: Setting): Promise<WorkersLine> {
    const line = new WorkersLine(name, place, setting)
    try {
      await line.#found()
      return line
    } catch (error) {
      await line.close()
      throw error
    }
  }

  readonly progress = async (): Promise<number> => {
    const { rows } = await this.#pool.query<{ n: number }>(COUNTS[this.name])
    return rows[0]?.n ?? 0
  }

  get histories(): readonly string[] {
    return this.#staff.histories
  }

  begin(prefix: string): Promise<void> {
    this.#staff.order({ do: 'go', prefix })
    return Promise.resolve()
  }

  async end(): Promise<string | undefined> {
    const rested = this.#staff.members
      .filter(({ role }) => role !== 'consumer')
      .map(async ({ name, actor }) => {
        const said = actor.next('rested', ({ op }) => op === 'rested', QUIET_WITHIN_MS)
        actor.order({ do: 'rest' })
        await said.catch(() => this.#absent.push(`${name} does not come to rest`))
      })
    await Promise.all(rested)
    const left = await untilQuiet(() => this.#unhandled(), QUIET)
    return left === 0 ? undefined : `${left} messages were not handled, and none for ${QUIET.stillMs} ms`
  }

  /** Waits until senders and readers know the new partitions: at their start, or within five minutes. */
  async keysMoved(prefix: string): Promise<void> {
    this.#moved.push(`${prefix}-`)
    this.#partitions += MORE_PARTITIONS
    for (const member of [...this.#staff.of('consumer'), ...this.#staff.of('sender')]) {
      await this.#staff.kill(member)
      await this.#staff.hire(member.role)
    }
  }

  async judge(events: readonly Event[]): Promise<readonly InvariantVerdict[]> {
    const verdicts = new Verdicts()
    const ok = (op: string): readonly Event[] =>
      operationsOf(events, op).flatMap(({ begin, end }) => (end?.type === 'ok' ? [begin] : []))
    const tables = await readTables(this.#pool)
    const known = {
      ...tables,
      accepted: {
        parcels: ok('send') as ReadonlyArray<Event & Parcel>,
        writes: ok('write').map((event) => String(event['write'])),
      },
      absent: this.#absent,
      failures: this.#failuresIn(events),
      moved: this.#moved,
    }
    if (this.name === 'messages') judgeMessages(known, verdicts)
    else judgeFence(known, verdicts)
    judgeProcesses(known, verdicts)
    return verdicts.all()
  }

  async close(): Promise<void> {
    await this.#staff.close()
    await this.#staff.dismiss()
    await this.#pool.end().catch(() => {})
  }

  #failuresIn(events: readonly Event[]): readonly string[] {
    const failed = events
      .filter(({ op }) => op === 'unhandled' || op === 'uncaught' || op === 'failed')
      .map(({ process, op, error }) => `${process}: ${op}: ${error}`)
    return [...failed, ...this.#staff.deserters().map(({ name }) => `${name} ended by itself`)]
  }

  async #unhandled(): Promise<number> {
    const { rows } = await this.#pool.query<{ n: number }>(UNHANDLED).catch(() => ({ rows: [] }))
    return rows[0]?.n ?? Number.POSITIVE_INFINITY
  }

  async #found(): Promise<void> {
    const sql = pgClient(this.#pool)
    await createTables(sql)
    if (this.name === 'locks') {
      await createFence({ sql }).migrate()
      await this.#staff.hireAll(Array.from({ length: CONTENDERS }, () => 'contender' as const))
      return
    }
    await createOutbox({ sql, service: SERVICE, schema: SCHEMA }).migrate()
    await createInbox({ sql, schema: SCHEMA }).migrate()
    // The first one creates what the others need.
    await this.#staff.hire('consumer')
    const more: Role[] = Array.from({ length: CONSUMERS - 1 }, () => 'consumer' as const)
    for (let n = 0; n < SENDERS; n++) more.push('sender')
    await this.#staff.hireAll(more)
  }
}
