import type { Clock } from '../../../core/clock.ts'
import { isRetryable } from '../../../core/errors.ts'
import type { Logger } from '../../../core/logger.ts'
import { synchronous } from '../../../core/unawaited-callbacks.ts'
import type { ResolvedCircuitBreaker } from '../../bindings/batch-rate-breaker-options.ts'
import type { EncodedMessage } from '../../channel/message.ts'
import { RecentCalls } from './recent-calls.ts'
import { TrialFailureCounts } from './trial-failure-counts.ts'

/** `closed`: messages flow. `open`: none begins. `half-open`: one is tried while the others wait for its outcome. */
export type CircuitState = 'closed' | 'open' | 'half-open'

/** An admitted handler call. Its outcome counts only if the circuit has not changed since. */
export interface Permit {
  readonly epoch: number
  /** True if the call is the only trial. */
  readonly isTrial: boolean
}

interface Waiter {
  /** True if its last call was a failed trial. */
  readonly hasFailed: boolean
  resolve(permit: Permit | undefined): void
}

/**
 * Watches handler calls and stops them when too many fail.
 *
 *   closed --too many failed--> open --pauseMs--> half-open --the trial worked--> closed
 *                                ^----------------- the trial failed ------|
 *
 * Each handler call must `enter`. Trials are made, in this order, with a message between two attempts, a new message, and a
 * message whose trial failed before, longest waiting first. So a message that always fails does not represent the system that the
 * handler calls while others can be tried. A failed trial is not an attempt, see `TrialFailureCounts`. Outcomes of calls from
 * before a change of state do not count.
 */
export class CircuitBreaker {
  readonly #options: ResolvedCircuitBreaker
  readonly #binding: string
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #wake: () => void
  readonly #waiters: Set<Waiter> = new Set()
  readonly #freeTrials: TrialFailureCounts
  #state: CircuitState = 'closed'
  #epoch = 0
  /** In half-open: whether a message was begun to be the trial, or is being tried. */
  #trial: 'none' | 'begun' | 'calling' = 'none'
  readonly #recent: RecentCalls
  #lastError: Error | undefined
  #cancelTimer: (() => void) | undefined

  /** @param wake called when messages may begin again */
  constructor(
    options: ResolvedCircuitBreaker,
    binding: string,
    { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
    wake: () => void,
  ) {
    this.#options = options
    this.#binding = binding
    this.#clock = clock
    this.#logger = logger
    this.#wake = wake
    this.#recent = new RecentCalls(options)
    this.#freeTrials = new TrialFailureCounts(options.freeTrials)
  }

  get state(): CircuitState {
    return this.#state
  }

  /** Reason why it is not closed. */
  get reason(): string | undefined {
    if (this.#state === 'closed') return undefined
    return `the circuit breaker is ${this.#state}: ${this.#lastError?.message ?? 'too many handler calls failed'}`
  }

  /** Returns how many messages may begin. */
  allows(wanted: number): number {
    if (this.#state === 'closed') return wanted
    return this.#state === 'half-open' && this.#trial === 'none' ? 1 : 0
  }

  /** Records the beginning of a call that `allows` admitted. */
  begun(): void {
    if (this.#state === 'half-open' && this.#trial === 'none') this.#trial = 'begun'
  }

  /** Records the end of a message. If it was to be the trial but made no call (undecodable, withdrawn), the next one may be. */
  ended(): void {
    if (this.#trial !== 'begun') return
    this.#trial = 'none'
    this.#offerTrial()
  }

  /** Admits a handler call; `undefined`: wait with `turn`. */
  enter(): Permit | undefined {
    if (this.#state === 'closed') return { epoch: this.#epoch, isTrial: false }
    if (this.#state === 'open' || this.#trial === 'calling') return undefined
    this.#trial = 'calling'
    return { epoch: this.#epoch, isTrial: true }
  }

  /**
   * Resolves when the call may be made; with `undefined` when `signal` aborts or at `dismiss`.
   * @param hasFailed true if its last call was a failed trial, so that others go first
   */
  turn(signal: AbortSignal, hasFailed: boolean): Promise<Permit | undefined> {
    return new Promise((resolve) => {
      if (signal.aborted) {
        resolve(undefined)
        return
      }
      const onAbort = (): void => waiter.resolve(undefined)
      const waiter: Waiter = {
        hasFailed,
        resolve: (permit) => {
          this.#waiters.delete(waiter)
          signal.removeEventListener('abort', onAbort)
          resolve(permit)
        },
      }
      signal.addEventListener('abort', onAbort)
      this.#waiters.add(waiter)
    })
  }

  succeeded({ epoch }: Permit): void {
    if (epoch !== this.#epoch) return
    if (this.#state === 'half-open') this.#close()
    else this.#recent.note(false)
  }

  /** @returns true if it was a trial that is not an attempt of its message */
  failed(permit: Permit, error: Error, message: EncodedMessage): boolean {
    if (permit.epoch !== this.#epoch) return false
    if (!this.#isCounted(error)) {
      this.abandoned(permit)
      return false
    }
    this.#lastError = error
    if (this.#state === 'half-open') {
      const isFree = this.#freeTrials.take(message)
      this.#open()
      return isFree
    }
    this.#recent.note(true)
    if (this.#recent.isTooMuch()) this.#open()
    return false
  }

  /** Records a call without significance: the message was withdrawn in the meantime. */
  abandoned({ epoch }: Permit): void {
    if (epoch !== this.#epoch || this.#state !== 'half-open') return
    this.#trial = 'none'
    this.#offerTrial()
  }

  /** Lets all waiting messages go back to the broker. */
  dismiss(): void {
    for (const waiter of this.#waiters) waiter.resolve(undefined)
  }

  /** Resets it to closed, without memory. */
  reset(): void {
    this.dismiss()
    this.#enterState('closed')
  }

  #isCounted(error: Error): boolean {
    const { counts } = this.#options
    if (counts === undefined) return isRetryable(error)
    try {
      return synchronous('`circuitBreaker.counts`', counts(error), 'true or false')
    } catch (cause) {
      this.#logger.error({ err: cause, binding: this.#binding }, '`circuitBreaker.counts` threw; it counts')
      return true
    }
  }

  #open(): void {
    const { pauseMs } = this.#options
    this.#enterState('open')
    this.#logger.warn({ err: this.#lastError, binding: this.#binding, pauseMs }, 'circuit breaker is open')
    this.#cancelTimer = this.#clock.setTimer(pauseMs, () => this.#halfOpen())
  }

  #halfOpen(): void {
    this.#enterState('half-open')
    this.#logger.info({ binding: this.#binding }, 'circuit breaker is half open: one message is tried')
    this.#offerTrial()
  }

  #close(): void {
    this.#enterState('closed')
    this.#logger.info({ binding: this.#binding }, 'circuit breaker is closed')
    for (const waiter of this.#waiters) waiter.resolve(this.enter())
    this.#wake()
  }

  #offerTrial(): void {
    const waiters = [...this.#waiters]
    const between = waiters.find(({ hasFailed }) => !hasFailed)
    if (between === undefined) this.#wake()
    const next = between ?? waiters[0]
    if (this.#state === 'half-open' && this.#trial === 'none') next?.resolve(this.enter())
  }

  #enterState(state: CircuitState): void {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    this.#state = state
    this.#epoch++
    this.#trial = 'none'
    this.#recent.forget()
    if (state === 'closed') this.#freeTrials.forget()
  }
}
