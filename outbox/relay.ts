/**
 * The relay of one process: holds leases on a fair share of the partitions and runs a `PartitionRelay` for each.
 *
 * Any number of processes can run a relay; each partition has one relay at a time. A relay that crashes is replaced within
 * `leaseMs`, one that closes within a second. Messages that were published but not yet deleted at a crash are published again
 * under the same ids.
 */

import { lastingContext } from '../core/async-contexts.ts'
import { SECOND } from '../core/clock.ts'
import { hasCode, toError } from '../core/errors.ts'
import { Lifecycle } from '../core/lifecycle.ts'
import { RepeatedFailureLog } from '../core/repeated-failure-log.ts'
import { explainMissing, refuseOwnTransaction, type SqlClient, type SqlListener } from '../core/sql.ts'
import { finishesWithin } from '../core/time-limit.ts'
import { UnansweredCalls } from '../core/unanswered-calls.ts'
import { CheckedPublisher } from './checked-publisher.ts'
import { OutboxError } from './errors.ts'
import { IdlePartitionPolling } from './idle-partition-polling.ts'
import type { HeldLease } from './lease.ts'
import { logsOf } from './move-rows-to-log.ts'
import { notifyChannel, partitionsOfPayload } from './notify.ts'
import { ParkedWatch } from './parked-watch.ts'
import { PartitionQueries } from './partition-queries.ts'
import { PartitionRelay } from './partition-relay.ts'
import type { WindowResult } from './publish-window.ts'
import { RelayCounts } from './relay-counts.ts'
import { RelayLeases } from './relay-leases.ts'
import { type RelayOptions, type ResolvedRelayOptions, resolveRelayOptions } from './relay-options.ts'
import { RelayWorkers } from './relay-workers.ts'
import { limitedStatements } from './statement-time-limit.ts'
import { type OutboxTables, outboxTables } from './tables.ts'
import { RelayTelemetry } from './telemetry.ts'

/** Publishes the messages of an outbox. All relays of the outbox share its partitions; each partition has one relay at a time. */
export interface Relay {
  /**
   * Acquires its partitions. Resolves after the first attempt; if the database or broker is unavailable, it is retried without a
   * limit. Later calls have no effect, unless the first call failed.
   * @throws `outbox.partitions`, `outbox.owner`, `core.tables_missing`, `core.sql_version`; `core.sql_own_transaction`;
   * `outbox.closed`
   */
  start(): Promise<void>
  /** Looks for messages immediately. Optional: they are found anyway, only later. */
  wake(): void
  /** State of the relay of this process. No I/O; for counts from the tables use `outbox.stats()`. */
  health(): RelayHealth
  /**
   * Finishes the windows in flight and hands over its partitions at once. Idempotent, never rejects; waits about twice
   * `drainTimeoutMs` at most, also if the database does not respond.
   */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** Current state of a relay, without I/O. */
export interface RelayHealth {
  /**
   * `down`: a statement or the publisher has not responded for eight seconds, the database failed, or the broker accepted
   * nothing. `degraded`: the broker repeatedly refuses a message, or the relay has parked it, which holds back other messages of
   * its key; `detail` has the destination and the reason.
   */
  readonly status: 'idle' | 'up' | 'degraded' | 'down' | 'closed'
  readonly detail: string | undefined
  /** Partitions held, in ascending order. */
  readonly partitions: readonly number[]
  /** Number of relays alive at the last check, including this one. */
  readonly relays: number
  /** Since the start: messages confirmed by the broker, and failed publishes. */
  readonly published: number
  readonly failed: number
  /** Age in ms of the oldest message of the last window, at the time it was fetched. */
  readonly lagMs: number
}

/** @throws TypeError / RangeError with the name of the option */
export function createRelay(options: RelayOptions): Relay {
  return new LeasedRelay(resolveRelayOptions(options))
}

function isMistake(error: unknown): error is Error {
  const codes = ['outbox.partitions', 'outbox.owner', 'core.tables_missing', 'core.sql_version', 'core.sequence_behind']
  return codes.some((code) => hasCode(error, code))
}

/** A listener that cannot report its connection state counts as connected. */
function isListening(listener: SqlListener | undefined): boolean {
  return listener !== undefined && (!('backend' in listener) || listener.backend !== undefined)
}

const closed = (schema: string): OutboxError =>
  new OutboxError('outbox.closed', { part: `relay of the outbox in schema "${schema}"`, make: 'createRelay()' })

class LeasedRelay implements Relay {
  readonly #options: ResolvedRelayOptions
  /** A statement without a response blocks a partition for one lease at most. */
  readonly #sql: SqlClient
  readonly #tables: OutboxTables
  readonly #trouble: RepeatedFailureLog
  readonly #share: RelayLeases
  readonly #staff: RelayWorkers
  readonly #look: IdlePartitionPolling
  readonly #subscriptions: Array<() => void> = []
  readonly #telemetry: RelayTelemetry | undefined
  readonly #silence: UnansweredCalls
  #nap = new AbortController()
  #beat: Promise<void> | undefined
  readonly #life: Lifecycle
  #drained = false
  #error: Error | undefined
  #lookError: Error | undefined
  readonly #counts: RelayCounts
  readonly #parked: ParkedWatch

  constructor(options: ResolvedRelayOptions) {
    const { outbox, clock, telemetry, leaseMs } = options
    this.#options = options
    this.#sql = limitedStatements(outbox.sql, clock, leaseMs)
    this.#life = new Lifecycle(() => closed(outbox.schema))
    this.#silence = new UnansweredCalls(clock)
    this.#telemetry = telemetry && new RelayTelemetry(telemetry, outbox.schema)
    this.#counts = new RelayCounts(clock, options.backoff.maxMs, this.#telemetry)
    this.#tables = outboxTables(outbox.schema)
    this.#parked = new ParkedWatch(limitedStatements(outbox.sql, clock, leaseMs / 2), this.#tables)
    this.#trouble = new RepeatedFailureLog(
      options.logger,
      'outbox relay cannot reach its database',
      'outbox relay reaches its database again',
    )
    this.#staff = new RelayWorkers(
      (lease) => this.#worker(lease),
      () => this.#nap.abort(),
    )
    this.#look = new IdlePartitionPolling({
      ...options,
      sql: this.#sql,
      tables: this.#tables,
      silence: this.#silence,
      isListening: () => isListening(options.listener),
      onLook: (error) => this.#looked(error),
    })
    this.#share = new RelayLeases(options, this.#tables, this.#staff)
  }

  start(): Promise<void> {
    return this.#life.start(() => this.#begin())
  }

  async #begin(): Promise<void> {
    refuseOwnTransaction(this.#options.outbox.sql)
    this.#subscribe()
    const first = lastingContext()(() => {
      const tick = this.#firstTick()
      this.#beat = tick.then(
        () => this.#run(),
        () => undefined,
      )
      return tick
    })
    try {
      await first
    } catch (error) {
      this.#beat = undefined
      this.#unsubscribe()
      throw error
    }
  }

  #subscribe(): void {
    const { outbox, listener } = this.#options
    this.#subscriptions.push(outbox.onAdded((partitions) => this.#staff.wake(partitions)))
    if (listener !== undefined) {
      const onNotify = (payload: string): void => this.#staff.wake(partitionsOfPayload(payload))
      this.#subscriptions.push(listener.listen(notifyChannel(outbox.schema), onNotify))
    }
    if (this.#telemetry !== undefined) this.#subscriptions.push(this.#telemetry.observe(outbox))
  }

  #unsubscribe(): void {
    for (const unsubscribe of this.#subscriptions.splice(0)) unsubscribe()
  }

  wake(): void {
    this.#staff.wake(undefined)
  }

  health(): RelayHealth {
    const error = this.#error ?? this.#lookError ?? this.#staff.error ?? this.#silence.error
    const failing = error === undefined ? (this.#parked.detail ?? this.#counts.lastingFailure) : undefined
    const status = error ? 'down' : !this.#life.isStarted ? 'idle' : failing ? 'degraded' : 'up'
    return {
      status: this.#life.isClosed ? 'closed' : status,
      detail: error?.message ?? failing,
      partitions: this.#share.held.map((lease) => lease.partition).sort((a, b) => a - b),
      relays: this.#share.relays,
      ...this.#counts.totals,
    }
  }

  close(): Promise<void> {
    return this.#life.close(() => this.#close())
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** A mismatch is a configuration error; all other errors come from a database that may recover. */
  async #firstTick(): Promise<void> {
    try {
      await this.#share.check()
    } catch (error) {
      if (isMistake(error)) {
        this.#error = error
        throw error
      }
    }
    await this.#tick()
  }

  async #run(): Promise<void> {
    const { clock, leaseMs } = this.#options
    while (!this.#drained) {
      await clock.sleep(Math.min(leaseMs / 3, 1 * SECOND), this.#nap.signal).catch(() => undefined)
      this.#nap = new AbortController()
      if (!this.#drained) await this.#tick()
    }
  }

  /** Never rejects. */
  async #tick(): Promise<void> {
    try {
      await this.#silence.track(this.#beatOnce(), 'renew the leases of its partitions')
      this.#trouble.over()
      this.#error = undefined
    } catch (reason) {
      this.#error = this.#failed(reason)
    }
    this.#staff.fit(this.#share.held, !this.#life.isClosed)
  }

  async #beatOnce(): Promise<void> {
    await this.#share.renew(() => !this.#life.isClosed)
    await this.#parked.look(this.#share.held.map((lease) => lease.partition))
  }

  #looked(reason: Error | undefined): void {
    this.#lookError = reason && this.#failed(reason)
  }

  #failed(reason: unknown): Error {
    const error = explainMissing(reason, this.#options.outbox.schema, 'outbox.migrate()')
    this.#trouble.failed(error)
    return toError(error)
  }

  #worker(lease: HeldLease): PartitionRelay {
    const table = new PartitionQueries(this.#sql, this.#tables, lease, this.#silence)
    const publisher = new CheckedPublisher(this.#options.publisher, this.#silence)
    const logOf = logsOf(this.#options.outbox)
    const shared = { options: this.#options, logOf, trouble: this.#trouble, look: this.#look }
    const onWindow = (result: WindowResult, lagMs: number): void => this.#counts.add(result, lagMs)
    return new PartitionRelay({ ...shared, lease, table, publisher, onWindow, onParked: () => this.#parked.mark() })
  }

  /** Leases are renewed until the windows in flight are settled; the lease of a window that does not finish in time expires. */
  async #close(): Promise<void> {
    const { clock, drainTimeoutMs, logger } = this.#options
    this.#unsubscribe()
    const settled = this.#staff.stop().then(() => this.#look.ended())
    await finishesWithin(clock, drainTimeoutMs, settled)
    this.#drained = true
    this.#nap.abort()
    if (await finishesWithin(clock, Math.max(drainTimeoutMs, 1 * SECOND), this.#handOver())) return
    logger.warn({}, 'outbox relay left its partitions to their leases: the database does not answer')
  }

  /** Never rejects. */
  async #handOver(): Promise<void> {
    // If it was never started, it holds nothing, and the tables may not exist yet.
    if (this.#beat === undefined) return
    await this.#beat
    try {
      await this.#share.handOver()
    } catch (error) {
      this.#options.logger.warn(
        { err: error },
        'outbox relay could not hand its partitions over: they are free when their leases expire',
      )
    }
  }
}
