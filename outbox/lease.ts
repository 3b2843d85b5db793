/**
 * Decides which relay works on which partition.
 *
 * A partition belongs to the relay named in its lease row until `lease_until`, by the server's clock. Taking a free or expired
 * lease raises its epoch, and every write of a relay names its epoch, so a relay that lost its lease without noticing writes
 * nothing. A relay relies on a lease until `leaseMs` after it *sent* the renewal, less a margin, by the later of the monotonic
 * and the wall clock: it stops before the server admits another.
 *
 * Setting the server's clock back prolongs no lease: none ends later than the `leaseMs` of its relay from now.
 *
 * Session advisory locks are not used: they do not survive a transaction pooler, and a lost connection looks like a held lock.
 *
 * Not guaranteed: a process that is suspended between its check and its publish publishes after its lease ended. Its messages
 * then have the same ids when they are sent again.
 */
import type { Clock } from '../core/clock.ts'
import { elapsedMs, type Instant, readInstant } from '../core/elapsed-time.ts'
import type { SqlClient } from '../core/sql.ts'
import type { OutboxTables } from './tables.ts'

/** A partition held under one epoch. */
export class HeldLease {
  readonly partition: number
  readonly epoch: string
  readonly owner: string
  readonly #clock: Clock
  readonly #validMs: number
  #sent: Instant
  #lost = false

  constructor(fields: {
    readonly partition: number
    readonly epoch: string
    readonly owner: string
    readonly clock: Clock
    readonly validMs: number
    /** Time at which the claim was sent. */
    readonly sent: Instant
  }) {
    this.partition = fields.partition
    this.epoch = fields.epoch
    this.owner = fields.owner
    this.#clock = fields.clock
    this.#validMs = fields.validMs
    this.#sent = fields.sent
  }

  /** Tells whether the relay may still publish. */
  isValid(): boolean {
    return !this.#lost && elapsedMs(this.#sent, readInstant(this.#clock)) < this.#validMs
  }

  get isLost(): boolean {
    return this.#lost
  }

  renewed(sent: Instant): void {
    this.#sent = sent
  }

  /** A write under this epoch was refused, or the renewal did not find it. Final. */
  lose(): void {
    this.#lost = true
  }
}

/** Returns how many partitions one of `live` relays may hold, so that all are covered. */
export function fairShare(partitions: number, live: number): number {
  return Math.ceil(partitions / Math.max(1, live))
}

/** The other relays, as of the last renewal. */
export interface Census {
  /** Relays alive, including this one. */
  readonly live: number
  /** Number of leases that can be claimed. */
  readonly free: number
}

interface RenewedRow extends Census {
  readonly partition: number | null
  readonly epoch: string | null
}

/** Share of `leaseMs` by which a holder stops early, because clocks run at different speeds. */
const MARGIN = 0.1

/** Leases of a relay. Every method is one statement; none retries. */
export class LeaseKeeper {
  readonly owner: string
  readonly #sql: SqlClient
  readonly #tables: OutboxTables
  readonly #leaseMs: number
  readonly #longestPauseMs: number
  readonly #clock: Clock
  readonly #held = new Map<number, HeldLease>()
  /** Leases whose release has no response yet; the server may still execute it. */
  readonly #leaving = new Map<number, HeldLease>()

  constructor(fields: {
    sql: SqlClient
    tables: OutboxTables
    instance: string
    leaseMs: number
    /** Maximum pause between two attempts. */
    longestPauseMs: number
    clock: Clock
  }) {
    this.#longestPauseMs = fields.longestPauseMs
    this.#sql = fields.sql
    this.#tables = fields.tables
    this.#leaseMs = fields.leaseMs
    this.#clock = fields.clock
    this.owner = `${fields.instance}@${fields.sql.exclusive ?? ''}`
  }

  get held(): readonly HeldLease[] {
    return [...this.#held.values()]
  }

  /**
   * Deletes relays that died long ago. On a database that only this process can use, it also frees the leases of dead processes.
   */
  async tidy(): Promise<void> {
    const { relay, lease } = this.#tables
    await this.#sql.query(`DELETE FROM ${relay} WHERE live_until < clock_timestamp() - interval '1 day'`)
    const token = this.#sql.exclusive
    if (token === undefined) return
    await this.#sql.query(
      `WITH gone AS (DELETE FROM ${relay} WHERE right(owner, length($1)) <> $1)
       UPDATE ${lease} SET owner = NULL, lease_until = NULL WHERE right(owner, length($1)) <> $1`,
      [token],
    )
  }

  /**
   * Reports this relay as alive and extends its leases. An end time later than now plus the lease, or plus the longest pause, was
   * written before the server's clock was set back, or by another server: it is set again, from now.
   */
  async renew(): Promise<Census> {
    const sent = readInstant(this.#clock)
    const { rows } = await this.#sql.query<RenewedRow>(
      `WITH alive AS (
         INSERT INTO ${this.#tables.relay} (owner, live_until, lease_ms)
         VALUES ($1, clock_timestamp() + $2::int * interval '1 ms', $2::int)
         ON CONFLICT (owner) DO UPDATE SET live_until = EXCLUDED.live_until, lease_ms = EXCLUDED.lease_ms
       ), kept AS (
         UPDATE ${this.#tables.lease} SET lease_until = clock_timestamp() + $2::int * interval '1 ms', lease_ms = $2::int
         WHERE owner = $1 RETURNING partition, epoch
       ), anew AS (
         UPDATE ${this.#tables.relay} SET live_until = clock_timestamp() + lease_ms * interval '1 ms'
         WHERE owner <> $1 AND live_until > clock_timestamp() + lease_ms * interval '1 ms'
       ), leased_anew AS (
         UPDATE ${this.#tables.lease} SET lease_until = clock_timestamp() + lease_ms * interval '1 ms'
         WHERE owner <> $1 AND lease_until > clock_timestamp() + lease_ms * interval '1 ms'
       ), tried_anew AS (
         UPDATE ${this.#tables.outbox} SET next_attempt_at = clock_timestamp() + $3::int * interval '1 ms'
         WHERE partition = ANY ($4::int[]) AND next_attempt_at > now() + $3::int * interval '1 ms' AND next_attempt_at < 'infinity'
       ), others AS (
         SELECT count(*)::int AS n FROM ${this.#tables.relay} WHERE owner <> $1 AND live_until > clock_timestamp()
       ), free AS (
         SELECT count(*)::int AS n FROM ${this.#tables.lease}
         WHERE owner IS NULL OR (owner <> $1 AND lease_until < clock_timestamp())
       )
       SELECT others.n + 1 AS live, free.n AS free, kept.partition, kept.epoch::text AS epoch FROM others CROSS JOIN free LEFT JOIN kept ON true`,
      [this.owner, this.#leaseMs, this.#longestPauseMs, [...this.#held.keys()]],
    )
    this.#keep(rows, sent)
    for (const lease of this.#leaving.values()) await this.release(lease)
    return { live: rows[0]?.live ?? 1, free: rows[0]?.free ?? 0 }
  }

  /** Claims at most `count` leases that are free or expired. */
  async claim(count: number): Promise<void> {
    const sent = readInstant(this.#clock)
    const { rows } = await this.#sql.query<{ partition: number; epoch: string }>(
      `WITH free AS MATERIALIZED (
         SELECT partition FROM ${this.#tables.lease} WHERE owner IS NULL OR lease_until < clock_timestamp()
         ORDER BY partition LIMIT $3 FOR UPDATE SKIP LOCKED
       )
       UPDATE ${this.#tables.lease} lease
       SET owner = $1, epoch = epoch + 1, lease_until = clock_timestamp() + $2::int * interval '1 ms', lease_ms = $2::int
       FROM free WHERE lease.partition = free.partition
       RETURNING lease.partition, lease.epoch::text AS epoch`,
      [this.owner, this.#leaseMs, count],
    )
    for (const row of rows) {
      this.#held.get(row.partition)?.lose()
      this.#hold(row.partition, row.epoch, sent)
    }
  }

  /**
   * Releases one lease, so that others can claim it at once. If there is no response, the next renewal releases it again and does
   * not use it under this epoch: otherwise a late release could free a partition on which this relay works.
   */
  async release(lease: HeldLease): Promise<void> {
    lease.lose()
    if (this.#held.get(lease.partition) === lease) this.#held.delete(lease.partition)
    this.#leaving.set(lease.partition, lease)
    await this.#sql.query(
      `UPDATE ${this.#tables.lease} SET owner = NULL, lease_until = NULL
       WHERE partition = $1 AND owner = $2 AND epoch = $3::bigint`,
      [lease.partition, lease.owner, lease.epoch],
    )
    this.#leaving.delete(lease.partition)
  }

  /** Removes this relay from the living ones. */
  async leave(): Promise<void> {
    await this.#sql.query(`DELETE FROM ${this.#tables.relay} WHERE owner = $1`, [this.owner])
  }

  #keep(rows: readonly RenewedRow[], sent: Instant): void {
    const kept = new Map(rows.flatMap((row) => (row.partition === null ? [] : [[row.partition, row.epoch] as const])))
    for (const lease of this.#held.values()) {
      if (kept.get(lease.partition) === lease.epoch && !lease.isLost) lease.renewed(sent)
      else {
        lease.lose()
        this.#held.delete(lease.partition)
      }
    }
    for (const [partition, epoch] of kept) {
      if (epoch === null || this.#held.has(partition) || this.#leaving.get(partition)?.epoch === epoch) continue
      this.#hold(partition, epoch, sent)
    }
  }

  #hold(partition: number, epoch: string, sent: Instant): void {
    const validMs = this.#leaseMs * (1 - MARGIN)
    this.#held.set(partition, new HeldLease({ partition, epoch, owner: this.owner, clock: this.#clock, validMs, sent }))
  }
}
