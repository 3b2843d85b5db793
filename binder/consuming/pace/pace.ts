import type { Clock } from '../../../core/clock.ts'
import { toError } from '../../../core/errors.ts'
import type { Logger } from '../../../core/logger.ts'
import type { ResolvedConsumer } from '../../bindings/resolve-options.ts'
import type { EncodedMessage } from '../../channel/message.ts'
import type { LineAdmission } from '../line-interface.ts'
import { CircuitBreaker, type CircuitState, type Permit } from './circuit-breaker.ts'
import { RateLimit } from './rate-limit.ts'

/** A call without a breaker to ask. */
export const FREE: Permit = Object.freeze({ epoch: 0, isTrial: false })

/** When messages of one binding begin and when their handler is called: its rate limit and its circuit breaker. */
export class Pace implements LineAdmission {
  readonly #rate: RateLimit | undefined
  readonly #breaker: CircuitBreaker | undefined

  /** `undefined` when the binding has neither. */
  static of(
    { name, rateLimit, circuitBreaker }: Pick<ResolvedConsumer, 'name' | 'rateLimit' | 'circuitBreaker'>,
    { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
    wake: () => void,
  ): Pace | undefined {
    if (rateLimit === undefined && circuitBreaker === undefined) return undefined
    return new Pace(
      rateLimit && new RateLimit(rateLimit, clock, wake),
      circuitBreaker && new CircuitBreaker(circuitBreaker, name, { clock, logger }, wake),
    )
  }

  private constructor(rate: RateLimit | undefined, breaker: CircuitBreaker | undefined) {
    this.#rate = rate
    this.#breaker = breaker
  }

  /** `undefined` without a breaker. */
  get circuit(): CircuitState | undefined {
    return this.#breaker?.state
  }

  /** Why the circuit is not closed. */
  get reason(): string | undefined {
    return this.#breaker?.reason
  }

  admit(wanted: number): number {
    const allowed = this.#breaker?.allows(wanted) ?? wanted
    if (allowed === 0) return 0
    const admitted = this.#rate?.take(allowed) ?? allowed
    if (admitted > 0) this.#breaker?.begun()
    return admitted
  }

  /**
   * Before each handler call. `undefined` when it may not be made: the message goes back.
   * @param repeated messages in it that have been in a call before
   * @param hasFailedTrial that call was a trial: others go first
   */
  enter(
    repeated: number,
    signal: () => AbortSignal,
    hasFailedTrial = false,
  ): Permit | undefined | Promise<Permit | undefined> {
    if (repeated > 0) this.repeated(repeated)
    if (this.#breaker === undefined) return FREE
    return this.#breaker.enter() ?? this.#breaker.turn(signal(), hasFailedTrial)
  }

  /** Messages that are called again use up the budget of later ones. */
  repeated(messages: number): void {
    this.#rate?.spend(messages)
  }

  succeeded(permit: Permit): void {
    this.#breaker?.succeeded(permit)
  }

  /**
   * @param isGone the message was taken away meanwhile: no wonder that it failed
   * @param message of the call; of a trial, the only one
   * @returns whether it was a trial that is no attempt of its message
   */
  threw(permit: Permit, error: unknown, isGone: boolean, message: EncodedMessage): boolean {
    if (!isGone) return this.#breaker?.failed(permit, toError(error), message) ?? false
    this.abandoned(permit)
    return false
  }

  /** There was no call after all, or it says nothing. */
  abandoned(permit: Permit): void {
    this.#breaker?.abandoned(permit)
  }

  /** A message has come to its end. */
  ended(): void {
    this.#breaker?.ended()
  }

  /** Returns messages between two attempts to the broker. */
  dismiss(): void {
    this.#breaker?.dismiss()
  }

  reset(): void {
    this.#breaker?.reset()
  }
}
