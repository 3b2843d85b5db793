/** Start and close of a part, the same for every part. */
export class Lifecycle {
  readonly #closedError: () => Error
  #started: Promise<void> | undefined
  #closed: Promise<void> | undefined

  /** @param closedError creates the part's own error for a call after `close` */
  constructor(closedError: () => Error) {
    this.#closedError = closedError
  }

  get isStarted(): boolean {
    return this.#started !== undefined
  }

  /** True from the call of `close` on. */
  get isClosed(): boolean {
    return this.#closed !== undefined
  }

  /** @throws the error of a closed part */
  requireOpen(): void {
    if (this.isClosed) throw this.#closedError()
  }

  /**
   * Starts once: later calls have the outcome of the first, unless it failed.
   * @throws the errors of `begin`; the error of a closed part, also if `close` is called before the start is complete
   */
  async start(begin: () => Promise<void>): Promise<void> {
    this.requireOpen()
    this.#started ??= begin().catch((error: unknown) => {
      this.#started = undefined
      throw error
    })
    await this.#started
    this.requireOpen()
  }

  /** Ends once. */
  close(end: () => Promise<void>): Promise<void> {
    this.#closed ??= end()
    return this.#closed
  }
}
