/**
 * What a server says as it ends a connection between two statements: a limit on idle transactions, an administrator. `pg` emits that as an
 * event; the next statement then fails with a text of its own, without the reason.
 */
export class LastWords {
  #error: Error | undefined

  /** For the connection's `error` event. */
  readonly hear = (error: Error): void => {
    this.#error ??= error
  }

  /** Adds the reason to what `pg` says of a connection that has ended. @returns the same error */
  explain(error: unknown): unknown {
    const reason = this.#error
    if (reason === undefined || !(error instanceof Error) || error === reason) return error
    if (!FOLLOWS.test(error.message) || error.cause !== undefined) return error
    error.cause = reason
    error.message = `${error.message}: ${reason.message}`
    return error
  }
}

const FOLLOWS = /^(Client has encountered a connection error|Connection terminated|Client was closed)/
