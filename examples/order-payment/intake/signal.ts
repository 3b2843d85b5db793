/** Wakes all waiters of `next`, and merges the calls of `fire` in one turn of the event loop. */
export class Signal {
  #waiters: Array<() => void> = []
  #scheduled = false

  fire(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      for (const wake of this.#waiters.splice(0)) wake()
    })
  }

  /** Resolves at the next `fire`; rejects with the signal's reason when it aborts. */
  next(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason as Error)
        return
      }
      const onAbort = (): void => {
        this.#waiters = this.#waiters.filter((waiter) => waiter !== wake)
        reject(signal.reason as Error)
      }
      const wake = (): void => {
        signal.removeEventListener('abort', onAbort)
        resolve()
      }
      signal.addEventListener('abort', onAbort, { once: true })
      this.#waiters.push(wake)
    })
  }
}
