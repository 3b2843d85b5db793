/** Reads sagas together with the definitions of their versions. */
import type { Clock } from '../../core/clock.ts'
import { type Instant, readInstant } from '../../core/elapsed-time.ts'
import type { SqlClient, SqlExecutor } from '../../core/sql.ts'
import { instanceDefinition } from '../definition/definition-with-added-steps.ts'
import type { Saga } from '../definition/saga-definition-types.ts'
import type { SagaStore } from '../store/store.ts'
import type { SagaKey, SagaRow, SagaVersion } from '../store/store-types.ts'
import { BatchedReads } from './batched-reads.ts'
import type { LoadedSaga } from './loaded-saga.ts'

export class SagaLoader {
  readonly #sql: SqlClient
  readonly #store: SagaStore
  readonly #clock: Clock
  readonly #definition: (version: SagaVersion) => Saga | undefined
  /** Shared reads, because many callers wait for transactions at once, and each reads its row. */
  readonly #shared: BatchedReads<SagaKey, LoadedSaga | undefined>

  /** @param definition same as in `CoordinatorRuntime` */
  constructor(sql: SqlClient, store: SagaStore, clock: Clock, definition: (version: SagaVersion) => Saga | undefined) {
    this.#sql = sql
    this.#store = store
    this.#clock = clock
    this.#definition = definition
    this.#shared = new BatchedReads(sql, (keys) => this.#loadMany(keys))
  }

  /** Returns `undefined` when the saga does not exist or its version is not loaded. */
  async load(key: SagaKey, sql: SqlExecutor = this.#sql): Promise<LoadedSaga | undefined> {
    const takenAt = readInstant(this.#clock)
    const row = await this.#store.load(sql, key)
    return row === undefined ? undefined : this.snapshot(row, takenAt)
  }

  /** Loads the saga in one statement with sagas that other callers request at the same time. */
  loadShared(key: SagaKey): Promise<LoadedSaga | undefined> {
    return this.#shared.get(key)
  }

  /**
   * Returns why `load` found no saga: `undefined` if there is none, the row if this process has not loaded its version.
   * `'started'`: the saga was committed in between, so the caller applies its event again.
   */
  async unfound(key: SagaKey): Promise<SagaRow | 'started' | undefined> {
    const row = await this.#store.load(this.#sql, key)
    return row === undefined || this.#definition(row) === undefined ? row : 'started'
  }

  snapshot(row: SagaRow, takenAt: Instant): LoadedSaga | undefined {
    const definition = this.#definition(row)
    if (definition === undefined) return undefined
    const { deadlineInMs, sinceWriteMs, ageMs } = row
    return {
      saga: instanceDefinition(definition, row.state),
      row,
      takenAt,
      // The server's clock may have been set back since: a time in its future counts as now.
      writtenAt: takenAt.monotonicMs - Math.max(0, sinceWriteMs),
      startedAt: takenAt.monotonicMs - Math.max(0, ageMs),
      ...(deadlineInMs !== null && { deadlineAt: takenAt.monotonicMs + deadlineInMs }),
    }
  }

  /** Loads many sagas, in the order of the keys. */
  async #loadMany(keys: readonly SagaKey[]): Promise<readonly (LoadedSaga | undefined)[]> {
    const takenAt = readInstant(this.#clock)
    const rows = await this.#store.loadMany(this.#sql, keys)
    return rows.map((row) => row && this.snapshot(row, takenAt))
  }
}
