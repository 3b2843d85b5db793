/** Longest times without progress although there was work, and the running fault. */

export interface Stall {
  readonly cause: string
  readonly ms: number
  /** Number of the fault in the plan. */
  readonly fault: number | undefined
}

/** Before the first fault. */
export const NO_CAUSE = 'none'

export class Stalls {
  readonly #longest = new Map<string, Stall>()
  #done = 0
  #sinceMs: number | undefined
  #cause: { readonly kind: string; readonly number: number } | undefined

  constructor(before: readonly Stall[] = []) {
    for (const stall of before) this.#longest.set(stall.cause, stall)
  }

  /** Records that a fault begins: stalls from now on are attributed to it, until the next one begins. */
  blame(kind: string, number: number): void {
    this.#cause = { kind, number }
  }

  /** @returns how long nothing has got done. @param done `undefined`: it cannot be seen @param open orders that may be done */
  see(nowMs: number, done: number | undefined, open: number): number {
    const ms = nowMs - (this.#sinceMs ?? nowMs)
    const moved = done !== undefined && done !== this.#done
    if (open > 0) this.#note(ms)
    if (this.#sinceMs === undefined || moved || open === 0) this.#sinceMs = nowMs
    if (moved) this.#done = done
    return nowMs - this.#sinceMs
  }

  /** Longest first. */
  get longest(): readonly Stall[] {
    return [...this.#longest.values()].toSorted((a, b) => b.ms - a.ms)
  }

  #note(ms: number): void {
    const cause = this.#cause?.kind ?? NO_CAUSE
    if (ms > (this.#longest.get(cause)?.ms ?? 0))
      this.#longest.set(cause, { cause, ms: Math.round(ms), fault: this.#cause?.number })
  }
}
