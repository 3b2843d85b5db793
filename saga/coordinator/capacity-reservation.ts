/**
 * Capacity reserved for a saga while the calls of its next state are prepared. A definition's schema may never answer, so the
 * capacity is released after a lease at the latest, and a blocked saga does not block others.
 */

import type { CoordinatorRuntime } from './runtime.ts'
import type { SagaCapacity } from './saga-capacity.ts'

/** Room reserved for a plan. */
export class CapacityReservation {
  readonly #runtime: Pick<CoordinatorRuntime, 'clock' | 'leaseMs'>
  readonly #capacity: SagaCapacity
  readonly #owned: boolean
  #answer: boolean | undefined
  #cancel: (() => void) | undefined
  #isKept = false

  constructor(runtime: Pick<CoordinatorRuntime, 'clock' | 'leaseMs'>, capacity: SagaCapacity, owned: boolean) {
    this.#runtime = runtime
    this.#capacity = capacity
    this.#owned = owned
  }

  /** Tells whether this process makes the local calls: one answer for the whole plan. */
  mayRun(): boolean {
    this.#answer ??= this.#ask()
    return this.#answer
  }

  /** False: this process cannot send requests itself now. */
  mayAsk(): boolean {
    return this.#capacity.isOpen
  }

  /**
   * @param isTaken true: the plan makes this process the owner, so one place is kept until the saga runs (taken again if the timer gave
   *   it back); false: the place is given back now
   */
  planned(isTaken: boolean): void {
    this.#cancel?.()
    if (isTaken && this.#cancel !== undefined && !this.#isKept) this.#capacity.keep(1)
    else if (!isTaken) this.#giveBack()
  }

  #ask(): boolean {
    const { clock, leaseMs } = this.#runtime
    if (!this.#capacity.mayRun(this.#owned)) return false
    if (this.#owned) return true
    this.#isKept = true
    this.#cancel = clock.setTimer(leaseMs, () => this.#giveBack())
    return true
  }

  #giveBack(): void {
    if (!this.#isKept) return
    this.#isKept = false
    this.#capacity.letGo(1)
  }
}
