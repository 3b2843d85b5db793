/** What the coordinator tells its user without being asked: a saga that ended or is stuck, a command nobody answers. */
import { type Backoff, backoffDelayMs } from '../../core/backoff.ts'
import { tell } from '../../core/callbacks.ts'
import { type Clock, SECOND } from '../../core/clock.ts'
import { toError } from '../../core/errors.ts'
import type { Logger } from '../../core/logger.ts'
import type { SqlClient } from '../../core/sql.ts'
import { traceFields } from '../../core/telemetry.ts'
import { isEnded } from '../machine/state.ts'
import type { SagaRow } from '../store/rows.ts'
import type { SagaStore } from '../store/store.ts'
import type { LateStep } from './health.ts'
import { Lateness } from './lateness.ts'
import type { ResolvedOptions } from './options.ts'
import type { Plan } from './plan.ts'
import { traceOf } from './telemetry.ts'

/** Asking whether a write without an answer was done: for about five minutes of outage. */
const ASK_TIMES = 70
const ASK_BACKOFF: Backoff = { initialMs: 50, factor: 2, maxMs: 5 * SECOND, jitter: 0.2 }

export interface NoticesHost extends Pick<ResolvedOptions, 'onStuck' | 'onLate'> {
  readonly sql: SqlClient
  readonly store: SagaStore
  readonly clock: Clock
  readonly logger: Logger
  /** Nothing is asked any more. */
  readonly closing: () => boolean
}

export class Notices {
  readonly #host: NoticesHost
  readonly #lateness: Lateness

  constructor(host: NoticesHost) {
    this.#host = host
    this.#lateness = new Lateness(host.clock)
  }

  /** Commands that wait for an answer longer than they should, as this process knows. */
  late(): readonly LateStep[] {
    return this.#lateness.steps()
  }

  /** A saga that has ended or is stuck. */
  ended(row: SagaRow): void {
    const { logger, onStuck } = this.#host
    const { status, failure } = row.state
    const fields = {
      saga: row.name,
      id: row.id,
      ...(failure !== undefined && { step: failure.step, code: failure.code }),
      ...traceFields(traceOf(row)),
    }
    if (isEnded(status)) {
      logger.debug(fields, `saga ${status}`)
      return
    }
    logger.error(fields, 'saga stuck: an operator has to look at it')
    const stuck = { saga: row.name, id: row.id, failure: failure ?? { step: '', code: '', message: '' } }
    tell(onStuck, stuck, (error) => logger.error({ ...fields, err: toError(error) }, 'onStuck failed'))
  }

  /** Commands that this write sends again for want of an answer. */
  tellLate({ next, write }: Plan): void {
    const { logger, onLate } = this.#host
    const isLate = write.timeline.some(({ kind }) => kind === 'timed-out')
    for (const late of this.#lateness.seen(next, isLate)) {
      logger.warn({ ...late }, 'command not answered in time, it is sent again')
      tell(onLate, late, (error) => logger.error({ ...late, err: toError(error) }, 'onLate failed'))
    }
  }

  /**
   * A saga that was parked by a write without an answer is nobody's: nobody else would ever look at it again.
   * @param committed called when the write turns out to have been done
   */
  async askIfStuck(plan: Plan, committed: () => void): Promise<void> {
    const { row } = plan.next
    if (row.state.status !== 'stuck') return
    const { clock, logger, sql, store, closing } = this.#host
    for (let tries = 1; tries <= ASK_TIMES && !closing(); tries++) {
      await clock.sleep(backoffDelayMs(ASK_BACKOFF, tries, Math.random()))
      try {
        const now = await store.load(sql, row)
        if (now === undefined || now.revision > row.revision) return
        if (now.revision === row.revision && now.state.status === 'stuck') return committed()
      } catch (error) {
        logger.debug({ saga: row.name, id: row.id, err: toError(error) }, 'not known yet whether the saga is stuck')
      }
    }
  }
}
