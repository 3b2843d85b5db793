import { backoffDelayMs } from '../../../core/backoff.ts'
import { toError } from '../../../core/errors.ts'
import { turnsOf } from '../../../core/event-loop-turns.ts'
import { traceFields } from '../../../core/telemetry-interface.ts'
import { readTraceContext } from '../../../core/trace-context.ts'
import { synchronous } from '../../../core/unawaited-callbacks.ts'
import { isClosed, writeFault } from '../../../core/write-fault.ts'
import type { ResolvedConsumer } from '../../bindings/resolve-options.ts'
import type { TransportDelivery } from '../../transport/transport.ts'
import type { HandlingDependencies } from '../handling-dependencies.ts'
import { AllWithdrawnSignal } from './all-withdrawn-signal.ts'
import { ConfirmedSends, parentOf } from './confirmed-sends.ts'
import type { Failure } from './dead-letter-message.ts'
import { attemptsBefore, toRetry } from './retry-destination.ts'
import { outageReason, UncountedFailures } from './uncounted-failures.ts'

/**
 * End of one delivery:
 * - `handled`, `discarded`, `dead-lettered`, `dropped`: everything is confirmed, settle it
 * - `retried`: a copy for the next attempt is confirmed, settle it
 * - `returned`: the broker took it away before its end, and redelivers it
 * - `halted`: it failed permanently, and the binding stops instead of continuing
 */
export type HandlingEnd = 'handled' | 'discarded' | 'dead-lettered' | 'dropped' | 'retried' | 'returned' | 'halted'

/**
 * Decides about a message whose handler call failed, alone or in a batch: another attempt after its pause, here or by a delayed
 * copy, or its end. Never rejects.
 */
export class Failures {
  readonly #options: ResolvedConsumer
  readonly #dependencies: HandlingDependencies
  readonly #outages: UncountedFailures
  readonly sends: ConfirmedSends

  constructor(options: ResolvedConsumer, dependencies: HandlingDependencies) {
    this.#options = options
    this.#dependencies = dependencies
    this.#outages = new UncountedFailures(options)
    this.sends = new ConfirmedSends(options.name, dependencies)
  }

  /** Returns the number of attempts before the first handler call of this delivery. */
  attemptsBefore(delivery: TransportDelivery): number {
    const { withdrawn } = this.#dependencies
    const { message } = delivery
    return Math.max(attemptsBefore(delivery) + withdrawn.attempts(message), withdrawn.attemptsMade(message))
  }

  /**
   * Returns the error of a message that fails without a further call: it was withdrawn from its handler, and has no attempt
   * left.
   */
  takenAwayTooOften({ message }: TransportDelivery, before: number): Error | undefined {
    const withdrawn = this.#dependencies.withdrawn.attempts(message)
    if (withdrawn === 0 || before < this.#options.maxAttempts) return undefined
    return new Error(`withdrawn from its running handler ${withdrawn + 1} times`)
  }

  /** Called when the handler has ended with these: deliveries whose place is lost by now were withdrawn. */
  handlerEnded(deliveries: readonly TransportDelivery[]): void {
    turnsOf(this.#dependencies.clock).look()
    for (const { signal, message } of deliveries)
      if (signal.aborted) this.#dependencies.withdrawn.add(message, deliveries.length === 1)
  }

  /** Tells whether the message was withdrawn together with others so often that it is passed alone. */
  mustBeAlone({ message }: TransportDelivery): boolean {
    return this.#dependencies.withdrawn.isSuspect(message)
  }

  /**
   * Handles a failed attempt. `undefined`: the pause is over, make the next attempt; `'again'`: repeat the same one, because the
   * database was unavailable, which says nothing about the message.
   * @param isFree a trial of the circuit breaker, which is not an attempt: the circuit's pause applies
   */
  async failed(
    delivery: TransportDelivery,
    thrown: unknown,
    attempt: number,
    isFree: boolean,
  ): Promise<HandlingEnd | 'again' | undefined> {
    if (this.gone(delivery)) return 'returned'
    const error = toError(thrown)
    const isAway = !isFree && this.isAway(delivery, error)
    const isLast = attempt >= this.#options.maxAttempts && !isFree && !isAway
    // Not retryable by itself, but it ends when an operator acts or the part is replaced, also during a trial of the circuit
    // breaker.
    const waits = writeFault(error) === 'operator' || isClosed(error)
    if (isLast || !(waits || this.#worthRetrying(error))) return this.fail(delivery, error, attempt)
    const noAttempt = isFree ? 'handler failed on trial, which is no attempt' : isAway ? outageReason(error) : undefined
    this.#dependencies.logger.warn(
      { err: error, binding: this.#options.name, messageId: delivery.message.id, attempt, ...traceOf(delivery) },
      noAttempt ?? 'handler failed, will be tried again',
    )
    if (isFree) return undefined
    if (isAway) return this.#untilBack(delivery, error)
    return this.#beforeNext(delivery, attempt, backoffDelayMs(this.#options.backoff, attempt, Math.random()))
  }

  /**
   * Handles a batch handler's failure as a whole: resolves when the parts may be passed again, or waiting is pointless. Never
   * rejects.
   */
  async apart(
    items: ReadonlyArray<{ readonly delivery: TransportDelivery }>,
    error: unknown,
    halvings: number,
    mayWait: boolean,
  ): Promise<void> {
    const { name, backoff } = this.#options
    this.#dependencies.logger.warn(
      { err: error, binding: name, messages: items.length },
      'batch handler failed as a whole; its messages are handed over in smaller parts, which is no attempt',
    )
    if (!mayWait || !this.#worthRetrying(toError(error))) return
    const { clock, stopping } = this.#dependencies
    const loans = new AllWithdrawnSignal(items.map(({ delivery }) => delivery))
    try {
      await clock.sleep(backoffDelayMs(backoff, halvings, Math.random()), AbortSignal.any([stopping, loans.signal]))
    } catch {
      // The caller checks which ones it still holds.
    } finally {
      loans.dispose()
    }
  }

  /** Tells whether this failure makes later messages with the key wait, or return with it. No effect. */
  holdsUp(delivery: TransportDelivery, thrown: unknown, attempt: number): boolean {
    const { maxAttempts, retry, onFailure } = this.#options
    if (this.gone(delivery) || this.isAway(delivery, thrown)) return true
    if (attempt < maxAttempts && this.#worthRetrying(toError(thrown))) return retry === 'blocking'
    return onFailure === 'halt'
  }

  /** Ends the message permanently: as a dead letter, or as `onFailure` requires. */
  async fail(delivery: TransportDelivery, error: unknown, attempts: number): Promise<HandlingEnd> {
    const { group, onFailure, name } = this.#options
    const { message, position } = delivery
    const answer = this.#dependencies.answer?.(message, error)
    const answered = answer && (await this.sends.answer(answer, delivery))
    if (answered !== undefined) return answered
    const fields = {
      err: error,
      binding: name,
      messageId: message.id,
      position,
      attempts,
      onFailure,
      ...traceOf(delivery),
    }
    this.#dependencies.logger.error(fields, 'message failed for good')
    if (onFailure === 'halt') return 'halted'
    if (onFailure === 'drop' || group === null) return 'dropped'
    const failure: Failure = {
      error,
      attempts,
      group,
      position,
      service: this.#dependencies.service,
      at: this.#dependencies.clock.now(),
    }
    try {
      await this.sends.letter(delivery, failure)
      return 'dead-lettered'
    } catch (cause) {
      if (this.gone(delivery)) return 'returned'
      this.#dependencies.logger.error(
        { ...fields, cause },
        'the dead letter channel refuses the message; the binding halts',
      )
      return 'halted'
    }
  }

  async #untilBack(delivery: TransportDelivery, error: Error): Promise<'again' | 'returned'> {
    if (writeFault(error) !== 'busy') this.#dependencies.stalledWrites.waits(delivery, error)
    return (await this.#pause(delivery, this.#outages.pauseMs(delivery, error))) ? 'again' : 'returned'
  }

  #worthRetrying(error: Error): boolean {
    try {
      return synchronous('`retryable`', this.#options.retryable(error), 'true or false')
    } catch (cause) {
      this.#dependencies.logger.error(
        { err: cause, binding: this.#options.name },
        'the `retryable` option threw; not tried again',
      )
      return false
    }
  }

  /** Tells whether the failure is not an attempt of the message: see `UncountedFailures`. No effect. */
  isAway(delivery: TransportDelivery, error: unknown): boolean {
    return this.#outages.isOne(delivery, error)
  }

  /** Returns a signal that aborts when waiting is pointless: the delivery was withdrawn or the binding stops. */
  mayWait(delivery: TransportDelivery): AbortSignal {
    return AbortSignal.any([delivery.signal, this.#dependencies.stopping])
  }

  gone(delivery: TransportDelivery): boolean {
    return delivery.signal.aborted || this.#dependencies.drain.aborted
  }

  /**
   * @throws when the transport has withdrawn a delivery, perhaps while it waited for its transaction: its handler must not begin
   */
  requireHeld(deliveries: readonly TransportDelivery[]): void {
    for (const delivery of deliveries) if (this.gone(delivery)) throw new Error('the delivery was withdrawn')
  }

  /** Returns `undefined` when the next attempt may begin here; otherwise the end of this delivery. */
  async #beforeNext(delivery: TransportDelivery, attempt: number, delayMs: number): Promise<HandlingEnd | undefined> {
    if (this.#options.retry === 'delayed') {
      const end = await this.#retryLater(delivery, attempt, delayMs)
      if (end !== undefined) return end
    }
    if (await this.#pause(delivery, delayMs)) return undefined
    this.#dependencies.withdrawn.addPaused(delivery.message, attempt)
    return 'returned'
  }

  /** Sends the copy for the next attempt. `undefined` if the broker can never take it: then it is tried again here. */
  async #retryLater(delivery: TransportDelivery, attempts: number, delayMs: number): Promise<HandlingEnd | undefined> {
    const copy = toRetry(delivery, this.#options.group ?? '', attempts, this.#dependencies.clock.now() + delayMs)
    try {
      await this.sends.replacement(copy, delivery, parentOf(delivery))
      return 'retried'
    } catch (cause) {
      if (this.gone(delivery)) return 'returned'
      const fields = { err: cause, binding: this.#options.name, messageId: copy.id, attempts }
      this.#dependencies.logger.error(fields, 'the retry channel refuses the message; it is tried again in its place')
      return undefined
    }
  }

  /** Waits for the next attempt. False if the delivery was withdrawn or the binding stops: it goes back. */
  async #pause(delivery: TransportDelivery, delayMs: number): Promise<boolean> {
    try {
      await this.#dependencies.clock.sleep(delayMs, this.mayWait(delivery))
      // A process that was stopped during the pause has not been notified of its loss yet.
      return !this.gone(delivery)
    } catch {
      return false
    }
  }
}

/** Returns fields for log lines about a delivery. */
function traceOf({ message }: TransportDelivery): Readonly<Record<string, string>> {
  return traceFields(readTraceContext(message.headers))
}
