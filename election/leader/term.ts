import type { Lease, LeaseState, ReleaseOutcome } from '../../locks/lock.ts'
import type { RevokedReason, Term } from './election.ts'
import { ElectionError } from './errors.ts'

/**
 * A term based on its lease: ends once, at the latest with the lease. `currentLease` returns it in place of the lease, and it
 * ends before the lease does.
 */
export class LedTerm implements Term, Lease {
  readonly role: string
  readonly instance: string
  readonly key: string
  readonly term: number
  readonly #lease: Lease
  readonly #over = new AbortController()
  readonly #ended = Promise.withResolvers<RevokedReason>()

  constructor(role: string, instance: string, lease: Lease) {
    this.role = role
    this.instance = instance
    this.key = lease.key
    this.term = lease.token
    this.#lease = lease
    const onLost = (): void => this.end('lost', lease.signal.reason)
    if (lease.signal.aborted) onLost()
    else lease.signal.addEventListener('abort', onLost, { once: true })
  }

  get token(): number {
    return this.term
  }

  get signal(): AbortSignal {
    return this.#over.signal
  }

  /** Resolves with the reason when the term has ended. */
  get ended(): Promise<RevokedReason> {
    return this.#ended.promise
  }

  /** Validity by the clocks, now. */
  get isValid(): boolean {
    return this.remainingMs() > 0
  }

  get state(): LeaseState {
    const { state } = this.#lease
    return state === 'held' && this.#over.signal.aborted ? 'releasing' : state
  }

  validUntil(): number {
    return this.#lease.validUntil()
  }

  remainingMs(): number {
    return this.#over.signal.aborted ? 0 : this.#lease.remainingMs()
  }

  assertValid(minRemainingMs?: number): void {
    this.#over.signal.throwIfAborted()
    this.#lease.assertValid(minRemainingMs)
  }

  /** Resigns. The lease itself is released after the handlers have ended, so its outcome is not known yet. */
  async release(): Promise<ReleaseOutcome> {
    if (this.#over.signal.aborted) return this.#lease.state === 'lost' ? 'lost' : 'unconfirmed'
    this.end('resigned')
    return 'unconfirmed'
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release()
  }

  /** Ends it; the first reason is kept. */
  end(reason: RevokedReason, cause?: unknown): void {
    if (this.#over.signal.aborted) return
    this.#ended.resolve(reason)
    this.#over.abort(new ElectionError('election.term_over', { role: this.role, term: this.term, reason }, cause))
  }
}
