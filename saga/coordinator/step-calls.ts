/** Calls of local steps that do not return: no exception says so, and the saga goes on without them. */
import { type Clock, SECOND } from '../../core/clock.ts'
import { listOf } from '../machine/layout.ts'
import type { Call } from '../machine/state.ts'
import type { SagaHealth } from './health.ts'

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

  /** Those that have run for longer than their step allows, by step: the items of a list together. */
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

/** In words, for health; `undefined` while no call is slow. */
export function slowDetail(slow: SagaHealth['slow']): string | undefined {
  const said = slow.map(({ saga, step, operation, count, runningForMs }) => {
    const seconds = Math.round(runningForMs / SECOND)
    return `${saga}: ${count} of ${operation} of step "${step}" not returned, the oldest for ${seconds} s`
  })
  return said.length === 0 ? undefined : said.join('; ')
}
