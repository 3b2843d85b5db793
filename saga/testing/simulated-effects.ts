/** Effects outside of a saga in `explore`, which exist or not. Pure. */
import type { SagaEvent } from '../machine/event.ts'
import type { Operation } from '../machine/operation.ts'
import type { SagaShape, StepShape } from '../machine/state.ts'

/**
 * Fault of a call:
 * - `fails before`, `fails after`: an error is reported; without, or with, the effect.
 * - `lost before`, `lost after`: nothing is reported (a missing reply, a dead process), without, or with, the effect.
 * - `refuses`: a definite refusal. `is terminal`: an error with `retryable: false`, without the effect.
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

/** Counts how often each step's effect was made and undone. */
export class SimulatedEffects {
  readonly #shapes: ReadonlyMap<string, StepShape>
  readonly made = new Map<string, number>()
  readonly undone = new Map<string, number>()
  readonly confirmed = new Map<string, number>()

  constructor(saga: SagaShape) {
    this.#shapes = new Map(saga.steps.map((step) => [step.name, step]))
  }

  /** Makes the call. Returns the event that the coordinator receives. */
  call(step: string, operation: Operation, attempt: number, fault: Fault | undefined): SagaEvent {
    const shape = this.#shapes.get(step) as StepShape
    // Effect and progress are one commit in the coordinator's database: without a result there is no effect.
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

  /** Tells whether an effect exists that a compensation should have removed. */
  isLeft(step: string): boolean {
    const shape = this.#shapes.get(step)
    return shape?.compensates === true && this.has(step)
  }

  /** True if the saga completed while a step is only reserved, or its reservation was released. */
  isUnconfirmed(step: string): boolean {
    return this.#shapes.get(step)?.confirm !== undefined && !(this.has(step) && this.confirmed.has(step))
  }

  /** Tells whether the effect exists. Repetitions under one key, and repeated undoing, count once. */
  has(step: string): boolean {
    return (this.made.get(step) ?? 0) > 0 && !this.undone.has(step)
  }

  #act(step: string, operation: Operation): void {
    const acts = { invoke: this.made, confirm: this.confirmed, compensate: this.undone }[operation]
    acts.set(step, (acts.get(step) ?? 0) + 1)
  }
}
