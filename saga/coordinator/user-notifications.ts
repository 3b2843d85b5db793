/** Notifies the user of a saga that ended or is stuck, and of a command without a reply. */
import { lastingContext } from '../../core/async-contexts.ts'
import { toError } from '../../core/errors.ts'
import { traceFields } from '../../core/telemetry-interface.ts'
import { tell } from '../../core/unawaited-callbacks.ts'
import { failureOf, isEnded } from '../machine/state.ts'
import type { SagaRow } from '../store/store-types.ts'
import type { LateStep } from './health.ts'
import type { CoordinatorRuntime } from './runtime.ts'
import { traceOf } from './telemetry.ts'
import { UnansweredCommands } from './unanswered-commands.ts'
import type { Plan } from './write-plan.ts'

export class UserNotifications {
  readonly #runtime: CoordinatorRuntime
  readonly #lateness: UnansweredCommands
  readonly #marking = new Set<Promise<void>>()

  constructor(runtime: CoordinatorRuntime) {
    this.#runtime = runtime
    this.#lateness = new UnansweredCommands()
  }

  /** Commands without a reply in time, as far as this process knows. */
  late(): readonly LateStep[] {
    return this.#lateness.steps()
  }

  /** Returns why participants cannot settle steps yet; `undefined` when none has reported a reason. */
  waiting(): string | undefined {
    return this.#lateness.waiting()
  }

  /** Forgets commands of sagas that other processes have written since. */
  async forgetAnswered(): Promise<void> {
    const { sql, reports } = this.#runtime
    await this.#lateness.forgetWritten((keys) => reports.revisions(sql, keys))
  }

  /** Notifies that a saga has ended or is stuck. */
  ended(row: SagaRow): void {
    const { logger, onStuck } = this.#runtime
    const { status } = row.state
    const failure = failureOf(row.state)
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

  /**
   * Records that `onStuck` was called. Without this record it is called once more, after the lease of the instance that parked
   * the saga.
   */
  told(row: SagaRow): void {
    const { sql, store, logger } = this.#runtime
    const marked = lastingContext()(() => store.told(sql, row))
      .catch((error: unknown) => {
        const fields = { saga: row.name, id: row.id, err: toError(error) }
        logger.debug(fields, 'the report of a stuck saga could not be recorded')
      })
      .finally(() => this.#marking.delete(marked))
    this.#marking.add(marked)
  }

  /** Never rejects. */
  async close(): Promise<void> {
    await Promise.all(this.#marking)
  }

  /** Notifies of commands that this write sends again for lack of a reply. */
  tellLate({ next, write }: Plan): void {
    const { logger, onLate } = this.#runtime
    const isLate = write.timeline.some(({ kind }) => kind === 'timed-out')
    for (const { late, isFirst } of this.#lateness.seen(next, isLate)) {
      // A participant that is down delays each of its sagas: one warning covers all of them, and health has their number.
      logger[isFirst ? 'warn' : 'debug']({ ...late }, 'command not answered in time, it is sent again')
      tell(onLate, late, (error) => logger.error({ ...late, err: toError(error) }, 'onLate failed'))
    }
  }
}
