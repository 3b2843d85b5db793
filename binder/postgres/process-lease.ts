import type { Clock } from '../../core/clock.ts'
import { LastHeard } from '../transport/kit/last-heard.ts'
import type { StatementRunner } from './statement-runner.ts'
import type { TransportTables } from './tables.ts'

/** A group as found by a heartbeat. */
export interface GroupNow {
  readonly destination: string
  readonly name: string
  /** See `KnownDestination.log`. */
  readonly log: string
  /** Number of other members, and of those that precede this process. */
  readonly others: number
  readonly before: number
}

/**
 * This process's session: one row, renewed each second, instead of one per partition. While it is valid, no other process takes
 * its partitions. The process relies on it until `leaseMs` after it *sent* the renewal, less a margin, by the later of both
 * clocks: it stops before the server admits another process.
 */
export class ProcessLease {
  readonly owner: string
  readonly #database: StatementRunner
  readonly #tables: TransportTables
  readonly #leaseMs: number
  readonly #renewed: LastHeard
  #isHeld = false

  constructor(fields: {
    owner: string
    database: StatementRunner
    tables: TransportTables
    clock: Clock
    leaseMs: number
  }) {
    this.owner = fields.owner
    this.#database = fields.database
    this.#tables = fields.tables
    this.#renewed = new LastHeard(fields.clock)
    this.#leaseMs = fields.leaseMs
  }

  isValid(): boolean {
    return this.#isHeld && this.#renewed.isCertain(this.#leaseMs)
  }

  /**
   * Renews the session. A session that ends later than its own lease from now was written before the server's clock was set back,
   * or by another server, and ends after its lease from now.
   * @param groups one entry for each subscription of this process
   * @param onOver called before the session is valid again, if it had ended when the answer arrived: others may have its
   * partitions
   * @returns the existing groups
   * @throws TransportError
   */
  async renew(groups: readonly number[], onOver: () => void): Promise<ReadonlyMap<number, GroupNow>> {
    const sentAt = this.#renewed.now()
    const { session, group, ring } = this.#tables
    const { rows } = await this.#database.query<GroupNow & { readonly id: number }>(
      'renew the session',
      `WITH alive AS (
         INSERT INTO ${session} (owner, live_until, lease_ms, groups)
         VALUES ($1, clock_timestamp() + $2::int * interval '1 ms', $2::int, $3::int[])
         ON CONFLICT (owner) DO UPDATE SET live_until = EXCLUDED.live_until, lease_ms = EXCLUDED.lease_ms, groups = EXCLUDED.groups
       ), anew AS (
         UPDATE ${session} SET live_until = clock_timestamp() + lease_ms * interval '1 ms'
         WHERE owner <> $1 AND live_until > clock_timestamp() + lease_ms * interval '1 ms'
       ), other AS (
         SELECT g.grp, count(*)::int AS others, (count(*) FILTER (WHERE s.owner < $1))::int AS before
         FROM ${session} s CROSS JOIN LATERAL unnest(s.groups) AS g(grp)
         WHERE s.owner <> $1 AND s.live_until > clock_timestamp() AND g.grp = ANY ($3::int[]) GROUP BY 1
       )
       SELECT g.id, g.destination, g.name, r.tableoid::text AS log,
         coalesce(o.others, 0) AS others, coalesce(o.before, 0) AS before
       FROM ${group} g CROSS JOIN ${ring} r LEFT JOIN other o ON o.grp = g.id WHERE g.id = ANY ($3::int[])`,
      [this.owner, this.#leaseMs, [...groups]],
      // A silently dead connection costs one renewal, not the session: the next one uses another.
      { timeoutMs: this.#leaseMs / 2 },
    )
    if (this.#isHeld && !this.isValid()) onOver()
    this.#renewed.heard(sentAt)
    this.#isHeld = true
    return new Map(rows.map((row) => [row.id, row]))
  }

  /** Deletes sessions of processes that ended long ago; on a database that only this process can use, all others. */
  async tidy(exclusive: string | undefined): Promise<void> {
    const { session } = this.#tables
    await this.#database.query(
      'forget processes that are gone',
      exclusive === undefined
        ? `DELETE FROM ${session} WHERE live_until < clock_timestamp() - interval '1 day'`
        : `DELETE FROM ${session} WHERE right(owner, length($1)) <> $1`,
      exclusive === undefined ? [] : [exclusive],
    )
  }

  /** Frees all partitions that it still holds. */
  async end(): Promise<void> {
    this.#isHeld = false
    await this.#database.query('end the session', `DELETE FROM ${this.#tables.session} WHERE owner = $1`, [this.owner])
  }
}

/** Returns how many of `partitions` the member of this rank may hold: the shares differ by at most one and cover all. */
export function shareOf(partitions: number, members: number, rank: number): number {
  return Math.floor(partitions / members) + (rank < partitions % members ? 1 : 0)
}
