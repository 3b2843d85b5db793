import { endingContext } from '../../core/async-contexts.ts'
import { toError } from '../../core/errors.ts'
import type { Logger } from '../../core/logger.ts'
import { withLeases } from '../../locks/current-lease.ts'
import type { LedTerm } from './term.ts'

/** A call of a handler, as seen by code inside it. */
interface Call {
  readonly term: LedTerm
  isSettled: boolean
  /** The call whose code caused this one, perhaps of another role. */
  readonly around: Call | undefined
}

const calls = endingContext<Call>()

/**
 * Calls the handlers of an instance's terms: under the term's lease, independent of renewals, all awaited by the hand-over. Their
 * errors are logged.
 */
export class Handlers {
  readonly #running = new Set<Promise<unknown>>()
  readonly #role: string
  readonly #logger: Logger

  constructor(role: string, logger: Logger) {
    this.#role = role
    this.#logger = logger
  }

  /** Begins at once, never rejects. @returns the error of the handler */
  call(name: string, term: LedTerm, handler: () => void | Promise<void>): Promise<Error | undefined> {
    const call: Call = { term, isSettled: false, around: calls.getStore() }
    const running = calls.run(call, () => this.#settle(name, term, handler))
    this.#running.add(running)
    const settled = running.finally(() => {
      call.isSettled = true
      this.#running.delete(running)
    })
    return settled
  }

  /** Resolves when none is running, including later ones. */
  async settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running)
  }

  /** True when the caller is part of a handler of this term that has not returned, and so must not be awaited. */
  contain(term: LedTerm | undefined): boolean {
    for (let call = calls.getStore(); call !== undefined; call = call.around) {
      if (call.term === term && !call.isSettled) return true
    }
    return false
  }

  async #settle(name: string, term: LedTerm, handler: () => void | Promise<void>): Promise<Error | undefined> {
    try {
      await withLeases([term], handler)
      return undefined
    } catch (error) {
      this.#logger.error({ role: this.#role, term: term.term, err: error }, `election: ${name} failed`)
      return toError(error)
    }
  }
}
