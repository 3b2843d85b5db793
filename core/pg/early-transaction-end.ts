import { hasMethods } from '../option-checks.ts'
import { SqlError } from '../sql-error.ts'

/** Responses of the server after a statement, and after all statements of a round trip. */
interface Answer {
  readonly status?: string
  readonly text?: string
}

/** The protocol below a client of `pg`. */
interface Protocol {
  on(event: 'readyForQuery' | 'commandComplete', listener: (answer: Answer) => void): unknown
  off(event: 'readyForQuery' | 'commandComplete', listener: (answer: Answer) => void): unknown
}

/** Status of a connection without an open transaction. */
const IDLE = 'I'
/** Command tags of statements that begin or end a transaction. That of ROLLBACK is the same as that of ROLLBACK TO SAVEPOINT. */
const CONTROL: ReadonlySet<unknown> = new Set(['BEGIN', 'START TRANSACTION', 'COMMIT', 'PREPARE TRANSACTION'])

/**
 * Detects from the server's responses that a transaction has ended before its owner ended it: a statement that bypassed the
 * transaction, directly on the client of `pg`, committed it or rolled it back. Later statements would then be stored
 * individually. Does not detect ROLLBACK AND CHAIN, nor anything on a connection that is not a `pg.Client`.
 */
export class EarlyTransactionEnd {
  readonly #protocol: Protocol | undefined
  #isBegun = false
  #hasEnded = false

  constructor(connection: object) {
    const { connection: protocol } = connection as { readonly connection?: unknown }
    this.#protocol = hasMethods(protocol, ['on', 'off']) ? (protocol as unknown as Protocol) : undefined
    this.#protocol?.on('readyForQuery', this.#ready)
    this.#protocol?.on('commandComplete', this.#complete)
  }

  /** Called before each statement of the transaction, and before its commit. @throws `core.sql_transaction_missing` */
  refuse(): void {
    if (this.#hasEnded) throw new SqlError('core.sql_transaction_missing')
  }

  stop(): void {
    this.#protocol?.off('readyForQuery', this.#ready)
    this.#protocol?.off('commandComplete', this.#complete)
  }

  readonly #ready = ({ status }: Answer): void => {
    if (status !== IDLE) this.#isBegun = true
    else if (this.#isBegun) this.#hasEnded = true
  }

  readonly #complete = ({ text }: Answer): void => {
    if (this.#isBegun && CONTROL.has(text)) this.#hasEnded = true
  }
}
