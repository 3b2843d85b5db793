import { fieldOf, messageOf } from '../thrown-values.ts'

/**
 * What a server says as it ends a connection between two statements: a limit on idle transactions, an administrator. `pg` emits that as an
 * event; the next statement then fails with a text of its own, without the reason.
 */
export class ConnectionEndReason {
  #error: Error | undefined

  /** For the connection's `error` event. */
  readonly hear = (error: Error): void => {
    this.#error ??= error
  }

  /** Adds the reason to what `pg` says of a connection that has ended. @returns the same error */
  explain(error: unknown): unknown {
    const reason = this.#error
    if (reason === undefined || error === reason) return error
    const message = messageOf(error) ?? ''
    if (!FOLLOWS.test(message) || fieldOf(error, 'cause') !== undefined || Object.isFrozen(error)) return error
    return Object.assign(error as Error, { cause: reason, message: `${message}: ${reason.message}` })
  }
}

const FOLLOWS = /^(Client has encountered a connection error|Connection terminated|Client was closed)/
