/** Health of a coordinator. */
import type { Clock } from '../../core/clock.ts'
import { SECOND } from '../../core/clock.ts'
import { counted } from '../../core/counted-noun.ts'
import type { Operation } from '../machine/operation.ts'
import type { Call } from '../machine/state.ts'
import { listOf } from '../machine/step-shape-lookup.ts'
import type { UnarchivedSaga } from './archive-failures.ts'

/** State of the coordinator as known in memory, without I/O. */
export interface SagaHealth {
  /**
   * `idle` before `run`; `down` after a statement that the database refused or did not answer, until the next one succeeds;
   * `closed` after `close`. `degraded`, with the reason in `detail`: a local step has not returned within its `timeoutMs`; this
   * release cannot read an input, a result or a signal of a saga; stored messages for a version could not be applied; or a
   * participant cannot confirm or cancel a step because another process still works on it.
   */
  readonly status: 'idle' | 'up' | 'degraded' | 'down' | 'closed'
  readonly error?: string | undefined
  readonly detail?: string | undefined
  /** Sagas whose local step runs in this process. */
  readonly inHand: number
  /** Unfinished sagas in the database, of all instances; usually up to 30 s old. `undefined`: no count in the last 90 s. */
  readonly open: number | undefined
  /** Number of sagas that wait for an operator. `undefined` as for `open`. */
  readonly stuck: number | undefined
  /** Commands without a reply in time that are still awaited, as far as this process has sent them again; at most 30 s old. */
  readonly late: readonly LateStep[]
  /**
   * Functions of local steps in this process that have not returned within the `timeoutMs` of their step, and may still hold a
   * connection or a lock. The sagas continue without them.
   */
  readonly slow: ReadonlyArray<{
    readonly saga: string
    readonly step: string
    readonly operation: Operation
    readonly count: number
    /** How long the oldest of them has been running. */
    readonly runningForMs: number
  }>
  /**
   * Unfinished sagas of versions that this process did not load. Another instance has to drive them. `undefined` as for `open`.
   */
  readonly unloaded:
    | ReadonlyArray<{ readonly saga: string; readonly version: number; readonly count: number }>
    | undefined
  /**
   * Messages stored for an instance that has the saga's version loaded, of all instances; at most 30 s old. `failed`: messages
   * that could not be applied, and are not tried again. The coordinator deletes messages an hour after the last saga of their
   * version has ended, failed ones after a week. `undefined` as for `open`.
   */
  readonly leftMessages:
    | ReadonlyArray<{
        readonly saga: string
        readonly version: number
        readonly count: number
        readonly failed: number
      }>
    | undefined
  /** Ended sagas that this process could not archive, oldest first. They are kept, and the next purge tries them again. */
  readonly unarchived: readonly UnarchivedSaga[]
}

/** Late commands of one step that wait for a participant. */
export interface LateStep {
  readonly saga: string
  readonly step: string
  readonly operation: Operation
  /** The command channel. */
  readonly to: string
  readonly count: number
}

/** A call of a local step that has not returned. No exception says so, and the saga goes on without it. */
interface StepCall extends Pick<Call, 'step' | 'operation'> {
  readonly saga: string
  /** Monotonic ms at which the time limit of the step is over. */
  readonly endsAt: number
  readonly beganAt: number
}

export class StepCalls {
  readonly #clock: Clock
  readonly #running = new Set<StepCall>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Counts a call until its function has returned, which may be long after the step has timed out. */
  track(saga: string, { step, operation }: Call, timeoutMs: number, work: Promise<unknown>): void {
    const beganAt = this.#clock.monotonic()
    const call: StepCall = { saga, step: listOf(step), operation, beganAt, endsAt: beganAt + timeoutMs }
    this.#running.add(call)
    const end = (): void => void this.#running.delete(call)
    work.then(end, end)
  }

  /** Calls that have run longer than their step allows, by step: the items of a list together. */
  slow(): SagaHealth['slow'] {
    const now = this.#clock.monotonic()
    const slow = new Map<string, SagaHealth['slow'][number]>()
    for (const { saga, step, operation, beganAt, endsAt } of this.#running) {
      if (now <= endsAt) continue
      const key = `${saga}/${step}/${operation}`
      const known = slow.get(key)
      const runningForMs = Math.max(known?.runningForMs ?? 0, Math.round(now - beganAt))
      slow.set(key, { saga, step, operation, count: (known?.count ?? 0) + 1, runningForMs })
    }
    return [...slow.values()]
  }
}

/** Reasons for which a coordinator is `degraded`. */
interface Troubles extends Pick<SagaHealth, 'slow' | 'leftMessages'> {
  /** The sagas that this release cannot read. */
  readonly unreadable: string | undefined
  /** Why participants cannot settle steps yet. */
  readonly waiting: string | undefined
}

/** Puts the reasons into words, for health; `undefined`: there are none. */
export function detailOf({ slow, leftMessages, unreadable, waiting }: Troubles): string | undefined {
  const failed = (leftMessages ?? [])
    .filter((left) => left.failed > 0)
    .map((left) => `${counted(left.failed, 'message')} left for ${left.saga}@${left.version} not applied: see the log`)
  const said = slow.map(({ saga, step, operation, count, runningForMs }) => {
    const seconds = Math.round(runningForMs / SECOND)
    return `${saga}: ${count} of ${operation} of step "${step}" not returned, the oldest for ${seconds} s`
  })
  const all = [unreadable, waiting, ...said, ...failed].filter((each) => each !== undefined)
  return all.length === 0 ? undefined : all.join('; ')
}
