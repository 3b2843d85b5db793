/**
 * Room that is kept for a saga while the calls of its next state are readied. A schema of a definition may never answer, so
 * it is given back after a lease at the latest: a saga that stands still holds up no other.
 */
import type { Clock } from '../../core/clock.ts'

export interface RoomHost {
  readonly clock: Clock
  readonly leaseMs: number
  /** Whether this instance makes the local calls of a saga that it owns already, or takes it now: then room is kept. */
  mayRun(owned: boolean): boolean
  /** Keeps room for a saga that is taken after all. */
  keep(): void
  /** Releases the room reserved for a saga: it is running now, or was not taken after all. */
  letGo(): void
}

/** Room reserved for a plan. */
export class KeptRoom {
  readonly #host: RoomHost
  readonly #owned: boolean
  #answer: boolean | undefined
  #cancel: (() => void) | undefined
  #isKept = false

  constructor(host: RoomHost, owned: boolean) {
    this.#host = host
    this.#owned = owned
  }

  /** Whether this process makes the local calls: one answer for all of the plan. */
  mayRun(): boolean {
    this.#answer ??= this.#ask()
    return this.#answer
  }

  /** @param isTaken the saga is in this process's hands once the plan is written: then the room is for it */
  planned(isTaken: boolean): void {
    this.#cancel?.()
    if (isTaken && this.#cancel !== undefined && !this.#isKept) this.#host.keep()
    else if (!isTaken) this.#giveBack()
  }

  #ask(): boolean {
    const { clock, leaseMs } = this.#host
    if (!this.#host.mayRun(this.#owned)) return false
    if (this.#owned) return true
    this.#isKept = true
    this.#cancel = clock.setTimer(leaseMs, () => this.#giveBack())
    return true
  }

  #giveBack(): void {
    if (!this.#isKept) return
    this.#isKept = false
    this.#host.letGo()
  }
}
