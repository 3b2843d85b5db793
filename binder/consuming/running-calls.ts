import type { Clock } from '../../core/clock.ts'
import type { BindingStatus } from '../status.ts'

/** Calls of a handler, or of the `poll` of a source, that have not returned, in the order in which they began. */
export class RunningCalls {
  readonly #clock: Clock
  readonly #began = new Map<object, number>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** @param call identifies the call until it has ended */
  begin(call: object): void {
    this.#began.set(call, this.#clock.monotonic())
  }

  end(call: object): void {
    this.#began.delete(call)
  }

  /** How long the oldest has been running; `undefined` if none is. */
  get oldestMs(): number | undefined {
    for (const began of this.#began.values()) return Math.round(this.#clock.monotonic() - began)
    return undefined
  }

  /** @param slowAfterMs of the binding */
  slowness(slowAfterMs: number): Pick<BindingStatus, 'runningForMs' | 'isSlow'> {
    const runningForMs = this.oldestMs
    if (runningForMs === undefined) return {}
    return { runningForMs, ...(runningForMs > slowAfterMs && { isSlow: true }) }
  }
}
