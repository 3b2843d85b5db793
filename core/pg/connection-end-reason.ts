import { fieldOf, messageOf } from '../thrown-values.ts'

/**
 * Remembers the server's reason for ending a connection between two statements: a limit on idle transactions, an administrator.
 * `pg` emits it as an event; the next statement then fails with its own text, without the reason.
 */
export class ConnectionEndReason {
  #error: Error | undefined

  /** For the connection's `error` event. */
  readonly hear = (error: Error): void => {
    this.#error ??= error
  }

  /** Adds the reason to the error of `pg` for an ended connection. @returns the same error */
  explain(error: unknown): unknown {
    const reason = this.#error
    if (reason === undefined || error === reason) return error
    const message = messageOf(error) ?? ''
    if (!FOLLOWS.test(message) || fieldOf(error, 'cause') !== undefined || Object.isFrozen(error)) return error
    return Object.assign(error as Error, { cause: reason, message: `${message}: ${reason.message}` })
  }
}

const FOLLOWS = /^(Client has encountered a connection error|Connection terminated|Client was closed)/
