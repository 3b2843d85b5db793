import type { Clock } from '../../../core/clock.ts'
import { toError } from '../../../core/errors.ts'
import type { Logger } from '../../../core/logger.ts'
import type { ResolvedConsumer } from '../../bindings/resolve-options.ts'
import type { EncodedMessage } from '../../channel/message.ts'
import type { LineAdmission } from '../line-interface.ts'
import { CircuitBreaker, type CircuitState, type Permit } from './circuit-breaker.ts'
import { RateLimit } from './rate-limit.ts'

/** Permit of a call without a breaker. */
export const FREE: Permit = Object.freeze({ epoch: 0, isTrial: false })

/** Decides when messages of one binding begin and when their handler is called: its rate limit and its circuit breaker. */
export class Pace implements LineAdmission {
  readonly #rate: RateLimit | undefined
  readonly #breaker: CircuitBreaker | undefined

  /** Returns `undefined` when the binding has neither. */
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

  /** State of the breaker; `undefined` without one. */
  get circuit(): CircuitState | undefined {
    return this.#breaker?.state
  }

  /** Reason why the circuit is not closed. */
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
   * Called before each handler call. `undefined`: the call may not be made, and the message goes back.
   * @param repeated number of messages in it that have been in a call before
   * @param hasFailedTrial true if that call was a trial, so that others go first
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

  /** Repeated calls of messages use up the budget of later ones. */
  repeated(messages: number): void {
    this.#rate?.spend(messages)
  }

  succeeded(permit: Permit): void {
    this.#breaker?.succeeded(permit)
  }

  /**
   * @param isGone true if the message was withdrawn in the meantime, which explains the failure
   * @param message message of the call; of a trial, the only one
   * @returns true if it was a trial that is not an attempt of its message
   */
  threw(permit: Permit, error: unknown, isGone: boolean, message: EncodedMessage): boolean {
    if (!isGone) return this.#breaker?.failed(permit, toError(error), message) ?? false
    this.abandoned(permit)
    return false
  }

  /** Records that there was no call after all, or one without significance. */
  abandoned(permit: Permit): void {
    this.#breaker?.abandoned(permit)
  }

  /** Records the end of a message. */
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
