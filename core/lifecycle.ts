/** The life of a part that is started and closed, the same for every part. */
export class Lifecycle {
  readonly #closedError: () => Error
  #started: Promise<void> | undefined
  #closed: Promise<void> | undefined

  /** @param closedError the part's own error for a call after `close` */
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
   * Begins once: a second call has the outcome of the first, unless that failed.
   * @throws what `begin` throws; the error of a closed part, also when `close` is called before it has begun
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
