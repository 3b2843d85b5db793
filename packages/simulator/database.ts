/**
 * A PostgreSQL server of the world, on a PGlite: real PostgreSQL, whose clock and randomness are those of the world, because
 * PGlite asks the process for them. It has one connection, so transactions of different instances run one after the other: each
 * may be interrupted at any statement, and none is interleaved with another.
 */
import { hasCode, type SqlClient, SqlCommitError, type SqlResult, type TransactionLimits } from 'concordat/core'
import { TransactionScope } from 'concordat/extension'
import { runIn } from './current-process.ts'
import type { FaultKind } from './faults.ts'
import type { Server } from './server.ts'
import type { SimulatedProcess } from './simulated-process.ts'
import { IDLE, limitSetBy, TransactionTimeouts } from './transaction-timeouts.ts'
import type { World } from './world.ts'

const FAULTS: readonly FaultKind[] = ['kill', 'kill-after', 'freeze', 'drop', 'drop-after', 'delay', 'restart']
/** The server ends an idle transaction that others wait for after this time, even without its own limit. */
const IDLE_MS = 5_000
/** Length of a statement's text that identifies its origin. */
const POINT_LENGTH = 64
const IN_FAILED_TRANSACTION = '25P02'

export class Database {
  readonly server: Server
  readonly world: World
  readonly sql: SqlClient
  readonly #name: string
  readonly #sessions = new Set<Session>()
  readonly #waiting: Waiting[] = []
  #owner: Session | undefined

  constructor(world: World, name: string, sql: SqlClient) {
    this.world = world
    this.#name = name
    this.sql = sql
    this.server = world.server(name)
    this.server.onRestart(() => {
      for (const session of this.#sessions) session.drop()
    })
  }

  /** The database as an instance sees it. */
  clientOf(instance: SimulatedProcess): SqlClient {
    return {
      query: (text, parameters) => this.#once(instance, text, parameters),
      transaction: async (work, limits) => {
        const session = new Session(this, instance, limits)
        this.#sessions.add(session)
        try {
          return await session.transaction(work)
        } finally {
          this.#sessions.delete(session)
        }
      },
    }
  }

  pointOf(text: string): string {
    return `${this.#name} ${text.replace(/\s+/g, ' ').trim().slice(0, POINT_LENGTH)}`
  }

  /** Admits one transaction at a time. */
  admit(session: Session | undefined, go: () => Promise<void>): Promise<void> | undefined {
    const owner = this.#owner
    if (owner === undefined || owner === session) return this.#run(go)
    this.#waiting.push({ session, go })
    this.#endIdle(owner)
    return undefined
  }

  own(session: Session): void {
    this.#owner = session
  }

  release(session: Session): void {
    if (this.#owner === session) this.#owner = undefined
    this.#admitNext()
  }

  /** Undoes the changes of the session, once the world gets to it. */
  undo(session: Session): void {
    if (this.#owner !== session) return
    this.world.timeline.after(0, async () => {
      await runIn(this.world.atServer, () => this.sql.query('ROLLBACK'))
      this.release(session)
    })
  }

  #once<Row extends object>(instance: SimulatedProcess, text: string, parameters: readonly unknown[] | undefined) {
    return this.world.call<SqlResult<Row>>(instance, {
      point: this.pointOf(text),
      server: this.server,
      faults: FAULTS,
      // A limit of a single-statement transaction ends with it.
      run: () => (limitSetBy(text) === undefined ? this.sql.query<Row>(text, parameters) : nothing<Row>()),
      admit: (go) => this.admit(undefined, go),
      lost: connectionLost,
    })
  }

  async #run(go: () => Promise<void>): Promise<void> {
    await go()
    if (this.#owner === undefined) this.#admitNext()
  }

  #admitNext(): void {
    const next = this.#waiting.shift()
    if (next !== undefined) this.world.timeline.after(0, () => this.admit(next.session, next.go))
  }

  #endIdle(owner: Session): void {
    const { timeline } = this.world
    timeline.after(IDLE_MS, () => {
      if (this.#owner !== owner || this.#waiting.length === 0) return
      if (owner.usedAtMs + IDLE_MS > timeline.nowMs) return this.#endIdle(owner)
      this.end(owner, 'idle')
    })
  }

  /** On its own initiative, as a server does. */
  end(session: Session, which: string): void {
    this.world.note(this.#name, `ends the ${which} transaction of ${session.instance.name}`)
    session.drop()
  }
}

interface Waiting {
  readonly session: Session | undefined
  readonly go: () => Promise<void>
}

/** A connection while a transaction is open on it. */
class Session {
  readonly instance: SimulatedProcess
  usedAtMs: number
  readonly #database: Database
  readonly #given: TransactionLimits | undefined
  /** Set with its first statement. */
  #limits: TransactionTimeouts | undefined
  #hasFailed = false
  #isGone = false

  constructor(database: Database, instance: SimulatedProcess, limits: TransactionLimits | undefined) {
    this.#database = database
    this.instance = instance
    this.#given = limits
    this.usedAtMs = database.world.timeline.nowMs
  }

  async transaction<T>(work: Parameters<SqlClient['transaction']>[0]): Promise<T> {
    const forget = this.instance.onEnd(() => this.drop())
    const scope = new TransactionScope({ query: (text, parameters) => this.#query(text, parameters) })
    const limits = this.#given
    try {
      if (limits?.opened === true) await this.#ask(this.#database.pointOf('BEGIN'), async () => {})
      const result = (await work(limits === undefined ? scope.tx : { ...scope.tx, limits })) as T
      scope.close()
      await this.#commit()
      scope.committed()
      return result
    } catch (error) {
      scope.close()
      this.drop()
      throw error
    } finally {
      forget()
    }
  }

  /** The connection is gone, and its changes are undone. */
  drop(): void {
    if (this.#isGone) return
    this.#isGone = true
    this.#limits?.close()
    this.#database.undo(this)
  }

  #query<Row extends object>(text: string, parameters?: readonly unknown[]): Promise<SqlResult<Row>> {
    return this.#ask(this.#database.pointOf(text), async () => {
      const set = limitSetBy(text)
      if (set !== undefined) {
        this.#limits?.set(set.limit, set.durationMs)
        return nothing<Row>()
      }
      try {
        return await this.#database.sql.query<Row>(text, parameters)
      } catch (error) {
        this.#hasFailed = true
        throw error
      }
    })
  }

  async #commit(): Promise<void> {
    if (this.#limits === undefined) return
    await this.#ask(this.#database.pointOf('COMMIT'), async () => {
      if (this.#hasFailed) await this.#refuseAborted()
      await this.#database.sql.query('COMMIT')
      this.#isGone = true
      this.#limits?.close()
      this.#database.release(this)
    })
  }

  async #refuseAborted(): Promise<void> {
    try {
      await this.#database.sql.query('SELECT 1')
    } catch (error) {
      throw hasCode(error, IN_FAILED_TRANSACTION) ? new SqlCommitError() : error
    }
  }

  #begin(): TransactionTimeouts {
    const database = this.#database
    const limits = new TransactionTimeouts(database.world.timeline, (limit) =>
      database.end(this, limit === IDLE ? 'idle' : 'long'),
    )
    const { idleMs } = this.#given ?? {}
    if (idleMs !== undefined) limits.set(IDLE, Math.ceil(idleMs))
    return limits
  }

  #ask<T>(point: string, run: () => Promise<T>): Promise<T> {
    const database = this.#database
    return database.world.call<T>(this.instance, {
      point,
      server: database.server,
      faults: FAULTS,
      admit: (go) => database.admit(this, go),
      lost: connectionLost,
      onDrop: () => this.drop(),
      run: async () => {
        if (this.#isGone) throw connectionLost(true)
        this.usedAtMs = database.world.timeline.nowMs
        this.#limits?.used()
        if (this.#limits === undefined) {
          this.#limits = this.#begin()
          database.own(this)
          await database.sql.query('BEGIN')
        }
        return run()
      },
    })
  }
}

async function nothing<Row extends object>(): Promise<SqlResult<Row>> {
  return { rows: [], rowCount: 0 }
}

function connectionLost(isDone: boolean): Error {
  const code = isDone ? '08006' : 'ECONNREFUSED'
  return Object.assign(new Error(isDone ? 'the connection is lost' : 'no connection'), { code })
}
