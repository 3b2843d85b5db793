import type { Lease } from '../locks/lock.ts'
import type { RevokedReason, Term } from './election.ts'
import { TermOver } from './errors.ts'

/** A term over its lease: ends once, at the latest with the lease. */
export class LedTerm implements Term {
  readonly role: string
  readonly instance: string
  readonly term: number
  readonly #lease: Lease
  readonly #over = new AbortController()
  readonly #ended = Promise.withResolvers<RevokedReason>()

  constructor(role: string, instance: string, lease: Lease) {
    this.role = role
    this.instance = instance
    this.term = lease.token
    this.#lease = lease
    const onLost = (): void => this.end('lost', lease.signal.reason)
    if (lease.signal.aborted) onLost()
    else lease.signal.addEventListener('abort', onLost, { once: true })
  }

  get signal(): AbortSignal {
    return this.#over.signal
  }

  /** Resolves with the reason when the term is over. */
  get ended(): Promise<RevokedReason> {
    return this.#ended.promise
  }

  /** By the clocks, now. */
  get isValid(): boolean {
    return !this.#over.signal.aborted && this.#lease.remainingMs() > 0
  }

  validUntil(): number {
    return this.#lease.validUntil()
  }

  assertValid(minRemainingMs?: number): void {
    this.#over.signal.throwIfAborted()
    this.#lease.assertValid(minRemainingMs)
  }

  /** The first reason stays. */
  end(reason: RevokedReason, cause?: unknown): void {
    if (this.#over.signal.aborted) return
    this.#ended.resolve(reason)
    this.#over.abort(new TermOver(this.role, this.term, reason, cause))
  }
}
