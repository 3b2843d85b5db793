/** Counts of the open sagas and of the messages left for versions, taken now and then. */
import { SECOND } from '../../core/clock.ts'
import type { DeferredSignalStore } from '../store/deferred-signals.ts'
import type { OpenSagas } from '../store/saga-reads.ts'
import type { SagaHealth } from './health.ts'
import type { CoordinatorRuntime } from './runtime.ts'

const EVERY_MS = 30 * SECOND
/** Age at which a count is unknown: the database may be unavailable. */
const VALID_MS = 3 * EVERY_MS

/** Counts the open sagas now and then. */
export class Census {
  readonly #runtime: CoordinatorRuntime
  #rows: readonly OpenSagas[] = []
  #left: readonly DeferredSignalStore[] = []
  #nextAt = 0
  #validUntil = -Infinity

  constructor(runtime: CoordinatorRuntime) {
    this.#runtime = runtime
  }

  /** Counts again when the last count is old; says in the log when sagas wait for a version that is not loaded. True: it counted. */
  async refresh(): Promise<boolean> {
    const { sql, reports, left, clock, logger } = this.#runtime
    if (clock.monotonic() < this.#nextAt) return false
    this.#rows = await reports.open(sql)
    await left.sweep(sql)
    this.#left = await left.count(sql)
    this.#nextAt = clock.monotonic() + EVERY_MS
    this.#validUntil = clock.monotonic() + VALID_MS
    for (const row of this.unloaded()) logger.warn(row, 'sagas of a version that is not loaded here')
    return true
  }

  /** `undefined`: not counted for a while, or never. */
  get rows(): readonly OpenSagas[] | undefined {
    return this.#runtime.clock.monotonic() < this.#validUntil ? this.#rows : undefined
  }

  count(status?: 'stuck'): number | undefined {
    return this.rows?.reduce((sum, row) => sum + (status === undefined || row.status === status ? row.count : 0), 0)
  }

  leftMessages(): SagaHealth['leftMessages'] {
    return this.#left.map(({ name, version, count, failed }) => ({ saga: name, version, count, failed }))
  }

  unloaded(): SagaHealth['unloaded'] {
    return this.#rows
      .filter((row) => this.#runtime.definition(row) === undefined)
      .map(({ name, version, count }) => ({ saga: name, version, count }))
  }
}
