interface Open<T> {
  readonly connection: T
  /** Number of running calls. */
  uses: number
}

/**
 * A connection for several concurrent calls, opened when first needed. After a failed call the next one uses a new connection.
 * Running calls keep the old one, which may still work, and the last of them closes it.
 */
export class SharedConnection<T> {
  readonly #connect: () => T
  readonly #disconnect: (connection: T) => Promise<void>
  readonly #all: Set<Open<T>> = new Set()
  #current: Open<T> | undefined

  /** @param disconnect must not reject */
  constructor(connect: () => T, disconnect: (connection: T) => Promise<void>) {
    this.#connect = connect
    this.#disconnect = disconnect
  }

  /** @param isConnectionFault tells whether an error means that the connection may be broken @throws the error of `work` */
  async use<R>(
    work: (connection: T) => Promise<R>,
    isConnectionFault: (error: unknown) => boolean = () => true,
  ): Promise<R> {
    this.#current ??= this.#open()
    const open = this.#current
    open.uses++
    try {
      return await work(open.connection)
    } catch (error) {
      if (this.#current === open && isConnectionFault(error)) this.#current = undefined
      throw error
    } finally {
      open.uses--
      if (open.uses === 0 && this.#current !== open) void this.#end(open)
    }
  }

  /** Closes it, which also ends running calls. */
  async close(): Promise<void> {
    this.#current = undefined
    await Promise.all(Array.from(this.#all, (each) => this.#end(each)))
  }

  #open(): Open<T> {
    const open = { connection: this.#connect(), uses: 0 }
    this.#all.add(open)
    return open
  }

  async #end(open: Open<T>): Promise<void> {
    if (this.#all.delete(open)) await this.#disconnect(open.connection)
  }
}
