/** Capacity for sagas in this process. A full process leaves local calls to others; a closing one begins none. */
import type { HeldLease, Leases } from './leases.ts'
import type { LoadedSaga } from './loaded-saga.ts'
import { type Plan, takesOwnership } from './write-plan.ts'

/** Sagas per running chain, including those that wait in line. */
const LINE = 4

/** The code of a global transaction mostly waits for others, so it takes no capacity. */
export function takesRoom({ saga }: LoadedSaga): boolean {
  return saga.branches === undefined
}

export class SagaCapacity {
  readonly #leases: Pick<Leases, 'size'>
  readonly #concurrency: number
  readonly #onFree: () => void
  /** Leases of sagas that run here and take no capacity. */
  readonly exempt = new Set<HeldLease>()
  #kept = 0
  #isOpen = false
  #isClosed = false

  /** @param onFree called when capacity may have become free */
  constructor(leases: Pick<Leases, 'size'>, concurrency: number, onFree: () => void) {
    this.#leases = leases
    this.#concurrency = concurrency
    this.#onFree = onFree
  }

  /** Number of further sagas that this process would take. */
  get free(): number {
    if (this.#isClosed) return 0
    return Math.max(0, this.#concurrency * LINE - (this.#leases.size - this.exempt.size) - this.#kept)
  }

  /** True from `open` to `close`: this process takes sagas, and sends requests itself. */
  get isOpen(): boolean {
    return this.#isOpen && !this.#isClosed
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  open(): void {
    this.#isOpen = true
  }

  /** Closes permanently. */
  close(): void {
    this.#isClosed = true
  }

  /** Reserves capacity for sagas that this process is about to take. */
  keep(count: number): void {
    this.#kept += count
  }

  letGo(count: number): void {
    this.#kept -= count
  }

  /** Called when a saga no longer takes capacity. */
  freed(): void {
    this.#onFree()
  }

  /** Tells whether this process makes the local calls of a saga that it owns or takes now; reserves capacity if so. */
  mayRun(owned: boolean): boolean {
    if (this.#isClosed) return false
    if (owned) return true
    if (!this.isOpen || this.free === 0) return false
    this.keep(1)
    return true
  }

  /** Called when a plan was written or abandoned, so the sagas that it takes no longer need their reservations. */
  release(plan: Plan): void {
    for (const each of plan.parts ?? [plan]) if (takesOwnership(each) && takesRoom(each.next)) this.letGo(1)
  }
}
