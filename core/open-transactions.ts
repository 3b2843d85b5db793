/** Tells whether the running code is inside an open transaction of a database with one connection. */
import { endingContext } from './async-contexts.ts'

interface Open {
  readonly database: object
  readonly outer: Open | undefined
  readonly isOpen: boolean
}

/** An open transaction around code that was started elsewhere. */
class Within implements Open {
  readonly #of: Open
  readonly outer: Open | undefined

  constructor(of: Open, outer: Open | undefined) {
    this.#of = of
    this.outer = outer
  }

  get database(): object {
    return this.#of.database
  }

  get isOpen(): boolean {
    return this.#of.isOpen
  }
}

/** The transactions around the running code, in any database. */
const transactions = endingContext<Open>()

/** True if the caller runs inside a transaction of this database, or of this pool, that is still open. */
export function isInTransactionOf(database: object): boolean {
  for (let each = transactions.getStore(); each !== undefined; each = each.outer)
    if (each.database === database && each.isOpen) return true
  return false
}

/** The innermost transaction that has not ended: code that outlives its transaction may open others. */
function stillOpen(): Open | undefined {
  let innermost = transactions.getStore()
  while (innermost?.isOpen === false) innermost = innermost.outer
  return innermost
}

/** A transaction on the only connection of a database, or of a pool. */
export class OpenTransactionContext {
  readonly #open: { readonly database: object; readonly outer: Open | undefined; isOpen: boolean }

  constructor(database: object) {
    this.#open = { database, outer: stillOpen(), isOpen: true }
  }

  /**
   * Runs the work of the transaction. Once it has settled, no statement can wait for itself: code that still runs only waits for
   * the commit.
   */
  async run<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await transactions.run(this.#open, work)
    } finally {
      this.#open.isOpen = false
    }
  }

  /** Runs work that was started in another context: `SqlTransaction.within`. */
  readonly within = <T>(work: () => T): T => transactions.run(new Within(this.#open, stillOpen()), work)
}
