/** The outside of a saga in `explore`: effects that exist or not. Pure. */
import type { SagaEvent } from '../machine/event.ts'
import type { Operation } from '../machine/operation.ts'
import type { SagaShape, StepShape } from '../machine/state.ts'

/**
 * What can go wrong with a call.
 * - `fails before`, `fails after`: an error is reported; without, or with, the effect.
 * - `lost before`, `lost after`: nothing is reported (a reply that does not come, a process that dies), without, or with,
 *   the effect.
 * - `refuses`: a definite no. `is terminal`: an error with `retryable: false`, without the effect.
 */
export type Fault = 'fails before' | 'fails after' | 'lost before' | 'lost after' | 'refuses' | 'is terminal'

export const FAULTS: readonly Fault[] = [
  'fails before',
  'fails after',
  'lost before',
  'lost after',
  'refuses',
  'is terminal',
]

const ERROR = { code: 'explore', message: 'explored' }

/** The effect of each step: how often it was made, and undone. */
export class SimulatedEffects {
  readonly #shapes: ReadonlyMap<string, StepShape>
  readonly made = new Map<string, number>()
  readonly undone = new Map<string, number>()
  readonly confirmed = new Map<string, number>()

  constructor(saga: SagaShape) {
    this.#shapes = new Map(saga.steps.map((step) => [step.name, step]))
  }

  /** Makes the call, and tells what the coordinator hears of it. */
  call(step: string, operation: Operation, attempt: number, fault: Fault | undefined): SagaEvent {
    const shape = this.#shapes.get(step) as StepShape
    // Effect and advance are one commit, in the coordinator's database: what is not heard of has not happened.
    const atomic = shape.transactional && !shape.remote
    if (fault === undefined || (!atomic && (fault === 'fails after' || fault === 'lost after')))
      this.#act(step, operation)
    switch (fault) {
      case undefined:
        return { type: 'succeeded', step, operation }
      case 'refuses':
        return { type: 'refused', step, operation, error: ERROR }
      case 'lost before':
      case 'lost after':
        return { type: 'due' }
      case 'is terminal':
        return { type: 'failed', step, operation, error: ERROR, terminal: true, attempt }
      case 'fails before':
      case 'fails after':
        return { type: 'failed', step, operation, error: ERROR, terminal: false, attempt }
    }
  }

  /** An effect is there that a compensation was to take away. */
  isLeft(step: string): boolean {
    const shape = this.#shapes.get(step)
    return shape?.compensates === true && this.has(step)
  }

  /** True if the saga completed while a step is only reserved, or its reservation was given up. */
  isUnconfirmed(step: string): boolean {
    return this.#shapes.get(step)?.confirm !== undefined && !(this.has(step) && this.confirmed.has(step))
  }

  /** The effect is there. What is repeated under one key, or undone twice, counts once. */
  has(step: string): boolean {
    return (this.made.get(step) ?? 0) > 0 && !this.undone.has(step)
  }

  #act(step: string, operation: Operation): void {
    const acts = { invoke: this.made, confirm: this.confirmed, compensate: this.undone }[operation]
    acts.set(step, (acts.get(step) ?? 0) + 1)
  }
}
