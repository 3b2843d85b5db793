/** Counts open sagas, and messages stored for versions, at intervals. */
import { SECOND } from '../../core/clock.ts'
import { toError } from '../../core/errors.ts'
import { RepeatedFailureLog } from '../../core/repeated-failure-log.ts'
import type { LeftMessageCount } from '../store/left-messages.ts'
import type { OpenSagas } from '../store/saga-reads.ts'
import type { SagaHealth } from './health.ts'
import type { CoordinatorRuntime } from './runtime.ts'

const EVERY_MS = 30 * SECOND
/** Pause after a failed count. */
const RETRY_MS = 5 * SECOND
/** Age at which a count becomes unknown, because the database may be unavailable. */
const VALID_MS = 3 * EVERY_MS

interface Counts {
  readonly open: readonly OpenSagas[]
  readonly leftMessages: readonly LeftMessageCount[]
  /** Monotonic ms. */
  readonly validUntil: number
}

/** Counts the open sagas every 30 s. Due sagas never wait for a count, which may be slow or fail. */
export class OpenSagaCounts {
  readonly #runtime: CoordinatorRuntime
  readonly #onCounted: () => Promise<void>
  readonly #trouble: RepeatedFailureLog
  #last: Counts | undefined
  #counting: Promise<void> | undefined
  #nextAt = 0

  /** @param onCounted called after each count */
  constructor(runtime: CoordinatorRuntime, onCounted: () => Promise<void>) {
    this.#runtime = runtime
    this.#onCounted = onCounted
    this.#trouble = new RepeatedFailureLog(
      runtime.logger,
      'counting open sagas failed',
      'counting open sagas works again',
    )
  }

  /** Starts a count if the last one is old and none is running. */
  look(): void {
    const { clock } = this.#runtime
    const now = clock.monotonic()
    if (this.#counting !== undefined || now < this.#nextAt) return
    this.#nextAt = now + RETRY_MS
    this.#counting = this.#count()
      .then(() => this.#trouble.over())
      .catch((error: unknown) => this.#trouble.failed(toError(error)))
      .finally(() => (this.#counting = undefined))
  }

  /** Resolves when no count is under way. Never rejects. */
  async close(): Promise<void> {
    await this.#counting
  }

  /** Counts, and logs when sagas wait for a version that is not loaded. */
  async #count(): Promise<void> {
    const { sql, reports, leftMessages, clock, logger } = this.#runtime
    const open = await reports.open(sql)
    await leftMessages.sweep(sql)
    this.#last = { open, leftMessages: await leftMessages.count(sql), validUntil: clock.monotonic() + VALID_MS }
    this.#nextAt = clock.monotonic() + EVERY_MS
    for (const row of this.unloaded() ?? []) logger.warn(row, 'sagas of a version that is not loaded here')
    await this.#onCounted()
  }

  /** Counts by version; `undefined` when there is no recent count. */
  get rows(): readonly OpenSagas[] | undefined {
    return this.#valid?.open
  }

  count(status?: 'stuck'): number | undefined {
    return this.rows?.reduce((sum, row) => sum + (status === undefined || row.status === status ? row.count : 0), 0)
  }

  leftMessages(): SagaHealth['leftMessages'] {
    return this.#valid?.leftMessages.map(({ name, version, count, failed }) => ({ saga: name, version, count, failed }))
  }

  unloaded(): SagaHealth['unloaded'] {
    return this.rows
      ?.filter((row) => this.#runtime.definition(row) === undefined)
      .map(({ name, version, count }) => ({ saga: name, version, count }))
  }

  get #valid(): Counts | undefined {
    const last = this.#last
    return last !== undefined && this.#runtime.clock.monotonic() < last.validUntil ? last : undefined
  }
}
