/** Runs work one at a time. Calls during a run share the next one, which sees their changes. */
export class CoalescedRuns {
  readonly #work: () => Promise<void>
  #running: Promise<void> | undefined
  #next: Promise<void> | undefined

  constructor(work: () => Promise<void>) {
    this.#work = work
  }

  /** @throws the error of the work */
  run(): Promise<void> {
    if (this.#running === undefined) return this.#start()
    const start = (): Promise<void> => this.#start()
    this.#next ??= this.#running.then(start, start)
    return this.#next
  }

  /** Waits for the current run. Never rejects. */
  async idle(): Promise<void> {
    await this.#running?.catch(() => undefined)
  }

  #start(): Promise<void> {
    this.#next = undefined
    const running = this.#work()
    this.#running = running
    const end = (): void => {
      if (this.#running === running) this.#running = undefined
    }
    running.then(end, end)
    return running
  }
}
