import type { SqlClient } from 'concordat/core'
import { LEASE_MS } from './settings.ts'

const EVERY_MS = 150
/** Between the clock of a statement and the lock that it had to wait for. */
const MARGIN_MS = 100
/** Added to a lease after a step of the database's clock: the coordinators look for due sagas at this interval. */
const STEP_MS = 1_000
/**
 * Time from which PostgreSQL accepts statements: this process begins after crash recovery, the postmaster before it.
 */
const ANSWERS_SINCE = `(SELECT coalesce(min(backend_start), pg_postmaster_start_time())
   FROM pg_stat_activity WHERE backend_type IN ('logical replication launcher', 'autovacuum launcher'))`

/** Query for what holds up a saga left alone for too long: a lock, the disk, or nothing that the server knows of. */
const WAITS = `SELECT count(*)::int AS connections, state || coalesce(' on ' || wait_event_type || ' ' || wait_event, '') AS what
  FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() GROUP BY 2 ORDER BY 1 DESC`

interface Sample {
  readonly id: string
  readonly status: string
  readonly owner: string | null
  /**
   * Time since it became due, or the database came back; negative: time until then. `null`: no coordinator will ever
   * look at it.
   */
  readonly overdueMs: number | null
  readonly leaseMs: number | null
}

/** Checks several times a second that each running saga has an owner, or a due time in the future. */
export class Watchman {
  readonly evidence: string[] = []
  samples = 0
  longestMs = 0
  /** Sagas that ran when it last looked. */
  running = 0
  readonly #sql: SqlClient
  readonly #steppedAt: () => number
  readonly #timer: NodeJS.Timeout
  #looking = false
  #explained = false
  readonly #told = new Set<string>()

  /** @param steppedAt when the clock of the database was set last, by the monotonic clock */
  constructor(sql: SqlClient, steppedAt: () => number) {
    this.#sql = sql
    this.#steppedAt = steppedAt
    this.#timer = setInterval(() => void this.#look(), EVERY_MS)
  }

  leave(): void {
    clearInterval(this.#timer)
  }

  async #look(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    try {
      const { rows } = await this.#sql.query<Sample>(
        `SELECT id, status, owner,
           (extract(epoch FROM clock_timestamp() - greatest(due_at, ${ANSWERS_SINCE})) * 1000)::float8 AS "overdueMs",
           (extract(epoch FROM due_at - clock_timestamp()) * 1000)::float8 AS "leaseMs"
         FROM concordat.saga WHERE status IN ('running', 'compensating')`,
      )
      this.samples++
      this.running = rows.length
      // The coordinators replace leases and pauses of the old clock within one lease.
      if (performance.now() - this.#steppedAt() > LEASE_MS + STEP_MS) for (const row of rows) this.#judge(row)
      if (this.evidence.length > 0 && !this.#explained) await this.#explain()
    } catch {
      // The database is down: no coordinator can own a saga.
    } finally {
      this.#looking = false
    }
  }

  #judge({ id, status, owner, overdueMs, leaseMs }: Sample): void {
    this.longestMs = Math.max(this.longestMs, overdueMs ?? 0)
    if (leaseMs === null) this.#say(id, `${id} is ${status} and nobody will look at it again`)
    else if (overdueMs !== null && overdueMs > LEASE_MS) {
      this.#say(id, `${id} (${status}) is nobody's since ${overdueMs.toFixed(0)} ms, the lease is ${LEASE_MS} ms`)
    } else if (owner !== null && leaseMs > LEASE_MS + MARGIN_MS) {
      this.#say(id, `${id} belongs to ${owner} for ${leaseMs.toFixed(0)} ms more, the lease is ${LEASE_MS} ms`)
    }
  }

  /** Before the evidence, of which a report shows the first lines. */
  async #explain(): Promise<void> {
    const { rows } = await this.#sql.query<{ connections: number; what: string }>(WAITS)
    const waits = rows.map(({ connections, what }) => `${connections} ${what}`).join(', ')
    this.evidence.unshift(`when the first was seen, PostgreSQL's connections were: ${waits}`)
    this.#explained = true
  }

  #say(id: string, line: string): void {
    if (this.#told.has(id)) return
    this.#told.add(id)
    this.evidence.push(line)
  }
}
