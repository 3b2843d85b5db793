/** Runs work once at a time. Calls during a run share the next one, which sees what they have changed. */
export class CoalescedRuns {
  readonly #work: () => Promise<void>
  #running: Promise<void> | undefined
  #next: Promise<void> | undefined

  constructor(work: () => Promise<void>) {
    this.#work = work
  }

  /** @throws what the work throws */
  run(): Promise<void> {
    if (this.#running === undefined) return this.#start()
    const start = (): Promise<void> => this.#start()
    this.#next ??= this.#running.then(start, start)
    return this.#next
  }

  /** Waits for the run under way. Never rejects. */
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
