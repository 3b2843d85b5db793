/** Room for sagas in this process. A full process leaves local calls to others; a closing one begins none. */
import type { HeldLease, Leases } from './leases.ts'
import type { LoadedSaga } from './loaded-saga.ts'
import { type Plan, takesOwnership } from './write-plan.ts'

/** Sagas per running chain, including those in line behind it. */
const LINE = 4

/** The code of a global transaction waits for others most of the time: it takes no room, and none is kept for it. */
export function takesRoom({ saga }: LoadedSaga): boolean {
  return saga.branches === undefined
}

export class SagaCapacity {
  readonly #leases: Pick<Leases, 'size'>
  readonly #concurrency: number
  readonly #onFree: () => void
  /** Leases of sagas that run here and take no room. */
  readonly exempt = new Set<HeldLease>()
  #kept = 0
  #isOpen = false
  #isClosed = false

  /** @param onFree called when there may be room again */
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

  /** Permanent. */
  close(): void {
    this.#isClosed = true
  }

  /** Keeps room for sagas that are on their way into this process's hands. */
  keep(count: number): void {
    this.#kept += count
  }

  letGo(count: number): void {
    this.#kept -= count
  }

  /** Called when a saga has left its room. */
  freed(): void {
    this.#onFree()
  }

  /** Whether this process makes the local calls of a saga that it owns already, or takes it now: then room is kept. */
  mayRun(owned: boolean): boolean {
    if (this.#isClosed) return false
    if (owned) return true
    if (!this.isOpen || this.free === 0) return false
    this.keep(1)
    return true
  }

  /** A plan was written or given up: the sagas that it takes are no longer on their way. */
  release(plan: Plan): void {
    for (const each of plan.parts ?? [plan]) if (takesOwnership(each) && takesRoom(each.next)) this.letGo(1)
  }
}
