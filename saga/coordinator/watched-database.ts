/** Health of the coordinator's database, from all statements and transactions of the coordinator. */
import { CallHealth } from '../../core/call-health.ts'
import type { Clock } from '../../core/clock.ts'
import type { SqlClient } from '../../core/sql.ts'
import { UnansweredCalls } from '../../core/unanswered-calls.ts'
import { writeFault } from '../../core/write-fault.ts'
import { LeaseStore } from '../store/lease-store.ts'
import { LeftMessageStore } from '../store/left-messages.ts'
import { SagaReads } from '../store/saga-reads.ts'
import type { Track } from '../store/saga-row-columns.ts'
import { SagaStore } from '../store/store.ts'

const TRANSACTION = 'transaction'

/**
 * Database of a coordinator and its stores, all observed: a statement or transaction that the database refuses or does not answer
 * affects health, whichever part sent it. Errors of user code in a transaction do not.
 */
export class WatchedDatabase {
  readonly sql: SqlClient
  readonly store: SagaStore
  readonly leaseStore: LeaseStore
  readonly reports: SagaReads
  readonly leftMessages: LeftMessageStore
  readonly #calls: CallHealth
  readonly #silence: UnansweredCalls

  /** @param away called after each failure after which the database may be another one, or an older copy */
  constructor(sql: SqlClient, schema: string, clock: Clock, away: () => void) {
    const track: Track = (call, text) => this.#calls.track(this.#silence.track(call, 'read or write sagas'), text)
    this.store = new SagaStore(schema, track)
    this.leaseStore = new LeaseStore(schema, track)
    this.reports = new SagaReads(schema, track)
    this.leftMessages = new LeftMessageStore(schema, track)
    this.sql = this.#watched(sql)
    this.#silence = new UnansweredCalls(clock)
    // Writes nothing, but needs a server that accepts writes.
    this.#calls = new CallHealth({
      clock,
      isFailure: (error) => {
        const fault = writeFault(error)
        if (fault === 'unavailable') away()
        return fault === 'unavailable' || fault === 'operator'
      },
      probe: () => this.store.write(sql, []),
    })
  }

  /** Returns why the database is `down`; `undefined` while the last calls succeeded. */
  get problem(): string | undefined {
    return this.#calls.state().detail ?? this.#silence.error?.message
  }

  close(): void {
    this.#calls.close()
  }

  #watched(sql: SqlClient): SqlClient {
    return {
      exclusive: sql.exclusive,
      inMemory: sql.inMemory,
      connections: sql.connections,
      isInTransaction: sql.isInTransaction?.bind(sql),
      prepare: sql.prepare?.bind(sql),
      query: (text, parameters) => sql.query(text, parameters),
      transaction: async (work, limits) => {
        const ofWork = new Set<unknown>()
        const begun = sql.transaction(
          (tx) =>
            work(tx).catch((error: unknown) => {
              ofWork.add(error)
              throw error
            }),
          limits,
        )
        // Statements of the stores are counted separately.
        const counted = begun.catch((error: unknown) => {
          if (!ofWork.has(error)) throw error
        })
        this.#calls.track(counted, TRANSACTION).catch(() => {})
        return begun
      },
    }
  }
}
