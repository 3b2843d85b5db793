import { backoffDelayMs } from '../../../core/backoff.ts'
import { busyPauseMs, MOST_BUSY_TRIES } from '../../../core/busy.ts'
import { synchronous } from '../../../core/callbacks.ts'
import type { Clock } from '../../../core/clock.ts'
import { toError } from '../../../core/errors.ts'
import type { Logger } from '../../../core/logger.ts'
import { sqlAway } from '../../../core/sql-away.ts'
import { traceFields } from '../../../core/telemetry.ts'
import { readTraceContext, type TraceContext } from '../../../core/trace-context.ts'
import { turnsOf } from '../../../core/turns.ts'
import { isClosed, writeFault } from '../../../core/write-fault.ts'
import { RECONNECT_BACKOFF, type ResolvedConsumer } from '../../bindings/options.ts'
import { type EncodedMessage } from '../../channel/message.ts'
import type { Answer } from '../../requests/answer.ts'
import type { PublishOutcome, TransportDelivery } from '../../transport/transport.ts'
import { type ConfirmHost, outcomeOf, publishEach, publishUntilConfirmed } from './confirm.ts'
import { type Failure, TRIMMED_HEADER_BYTES, toDeadLetter, toTrimmedDeadLetter } from './dead-letter.ts'
import { Loans } from './loans.ts'
import type { Refusals } from './refusals.ts'
import { attemptsBefore, toRetry } from './retry.ts'
import type { TakenAway } from './taken-away.ts'

/** Members of the binder that settling a failure uses. */
export interface FailuresHost {
  /** Answer for the requester of a request that failed permanently. */
  readonly answer?: ((request: EncodedMessage, error: unknown) => Answer | undefined) | undefined
  readonly service: string
  readonly clock: Clock
  readonly logger: Logger
  /** Aborts when the binding stops: what waits for its next attempt goes back instead. */
  readonly stopping: AbortSignal
  /** Aborts when the drain ran out of time. */
  readonly drain: AbortSignal
  /** Collects missing rights to write, for the status of the binding. */
  readonly refusals?: Refusals | undefined
  /** Messages that were taken away while their handler ran. */
  readonly takenAway?: TakenAway | undefined
  /** Same as `Transport.confirmsSingly`. */
  readonly confirmsSingly?: boolean | undefined
  /** Sends and settles in one transaction, where the binding settles in transactions. @throws TransportError, what the driver says */
  readonly move?: ((delivery: TransportDelivery, messages: readonly EncodedMessage[]) => Promise<void>) | undefined
  /** @param parent of the span around it, if there is telemetry. @default the active span */
  publish(messages: readonly EncodedMessage[], parent?: TraceContext | 'none'): Promise<readonly PublishOutcome[]>
}

/**
 * How one delivery ended.
 * - `handled`, `discarded`, `dead-lettered`, `dropped`: everything is confirmed, settle it
 * - `retried`: a copy for the next attempt is confirmed, settle it
 * - `returned`: taken away in the middle, it comes back
 * - `halted`: failed permanently, and the binding stops instead of continuing
 */
export type HandlingEnd = 'handled' | 'discarded' | 'dead-lettered' | 'dropped' | 'retried' | 'returned' | 'halted'

const DATABASE_AWAY = 'the database was away in the handler, which is no attempt'
const FOR_OPERATOR =
  'what the handler writes needs an operator (a right, a table or a setting), which is no attempt; it is tried again'
const CLOSED =
  'a part that the handler uses is closed, which is no attempt: the message goes back when the binder closes, or waits'
/**
 * A message whose handler breaks the connection each time must not be tried forever: after this many times, in 8 minutes, a lost connection
 * counts as an attempt. A connection that could not be made never does.
 */
const MOST_LOST = 100

const DATABASE_BUSY =
  'the transaction of the handler met another one (conflict, deadlock or a lock that was not free), which is no attempt'

/**
 * What becomes of a message whose handler call failed, one by one or in a batch: another attempt after its pause, here or
 * by a copy that comes back, or its end. Never rejects.
 */
export class Failures {
  readonly #options: ResolvedConsumer
  readonly #host: FailuresHost
  /** How often the database was away in a call for this delivery. */
  readonly #away = new WeakMap<TransportDelivery, number>()
  /** How often its transaction met another one. */
  readonly #busy = new WeakMap<TransportDelivery, number>()

  constructor(options: ResolvedConsumer, host: FailuresHost) {
    this.#options = options
    this.#host = host
  }

  /** Attempts that count before the first handler call of this delivery. */
  attemptsBefore(delivery: TransportDelivery): number {
    return attemptsBefore(delivery) + (this.#host.takenAway?.attempts(delivery.message) ?? 0)
  }

  /** Why the message fails without a further call: it was taken away from its handler, and has no attempt left. */
  takenAwayTooOften({ message }: TransportDelivery, before: number): Error | undefined {
    const takenAway = this.#host.takenAway?.attempts(message) ?? 0
    if (takenAway === 0 || before < this.#options.maxAttempts) return undefined
    return new Error(`taken away from its running handler ${takenAway + 1} times`)
  }

  /** The handler has come to its end with these: those whose place was lost by now were taken away from it. */
  handlerEnded(deliveries: readonly TransportDelivery[]): void {
    turnsOf(this.#host.clock).look()
    for (const { signal, message } of deliveries)
      if (signal.aborted) this.#host.takenAway?.add(message, deliveries.length === 1)
  }

  /** Whether it was taken away with other messages so often that it is handed over without any. */
  mustBeAlone({ message }: TransportDelivery): boolean {
    return this.#host.takenAway?.isSuspect(message) === true
  }

  /**
   * What follows a failed attempt. Its pause is over, call the handler again: `undefined`, for the next attempt; `'again'`, for the
   * same one, since the database was away, which says nothing of the message.
   * @param isFree a trial of the circuit breaker, which is no attempt: the circuit's pause is the pause
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
    const waits = isAway && (writeFault(error) === 'operator' || isClosed(error))
    if (isLast || !(waits || this.#worthRetrying(error))) return this.fail(delivery, error, attempt)
    const noAttempt = isFree ? 'handler failed on trial, which is no attempt' : isAway ? reasonOf(error) : undefined
    this.#host.logger.warn(
      { err: error, binding: this.#options.name, messageId: delivery.message.id, attempt, ...traceOf(delivery) },
      noAttempt ?? 'handler failed, will be tried again',
    )
    if (isFree) return undefined
    if (isAway) return this.#untilBack(delivery, error)
    return this.#beforeNext(delivery, attempt, backoffDelayMs(this.#options.backoff, attempt, Math.random()))
  }

  /** A batch handler failed as a whole: resolves when the parts may be handed over, or it is of no use to wait. Never rejects. */
  async apart(
    items: ReadonlyArray<{ readonly delivery: TransportDelivery }>,
    error: unknown,
    halvings: number,
    mayWait: boolean,
  ): Promise<void> {
    const { name, backoff } = this.#options
    this.#host.logger.warn(
      { err: error, binding: name, messages: items.length },
      'batch handler failed as a whole; its messages are handed over in smaller parts, which is no attempt',
    )
    if (!mayWait || !this.#worthRetrying(toError(error))) return
    const { clock, stopping } = this.#host
    const loans = new Loans(items.map(({ delivery }) => delivery))
    try {
      await clock.sleep(backoffDelayMs(backoff, halvings, Math.random()), AbortSignal.any([stopping, loans.signal]))
    } catch {
      // The caller looks what is still its own.
    } finally {
      loans.dispose()
    }
  }

  /** Whether this failure makes what lies behind the message in its key wait, or come back with it. Asks, and does nothing. */
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
    const answer = this.#host.answer?.(message, error)
    const answered = answer && (await this.#answer(answer, delivery))
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
    this.#host.logger.error(fields, 'message failed for good')
    if (onFailure === 'halt') return 'halted'
    if (onFailure === 'drop' || group === null) return 'dropped'
    const failure: Failure = {
      error,
      attempts,
      group,
      position,
      service: this.#host.service,
      at: this.#host.clock.now(),
    }
    try {
      await this.#publishLetter(delivery, failure)
      return 'dead-lettered'
    } catch (cause) {
      if (this.gone(delivery)) return 'returned'
      this.#host.logger.error({ ...fields, cause }, 'the dead letter channel refuses the message; the binding halts')
      return 'halted'
    }
  }

  /** `undefined`: the rest of its end follows. An answer that cannot be sent holds up nothing: who asked runs out of time. */
  async #answer({ message, settles }: Answer, delivery: TransportDelivery): Promise<HandlingEnd | undefined> {
    try {
      await this.publishConfirmed([message], delivery, parentOf(delivery))
    } catch (cause) {
      if (this.gone(delivery)) return 'returned'
      const fields = { err: cause, binding: this.#options.name, messageId: delivery.message.id }
      this.#host.logger.warn(fields, 'the answer to a request that failed could not be sent')
    }
    return settles ? 'handled' : undefined
  }

  /** Publishes the message unchanged. If the broker permanently refuses it, with fewer headers, at last with none: the body is worth more. */
  async #publishLetter(delivery: TransportDelivery, failure: Failure): Promise<void> {
    const { message } = delivery
    const parent = parentOf(delivery)
    let letter = toDeadLetter(message, failure)
    for (const headerBytes of TRIMMED_HEADER_BYTES) {
      try {
        await this.#moved(letter, delivery, parent)
        return
      } catch (refused) {
        if (this.gone(delivery)) throw refused
        const fields = { err: refused, binding: this.#options.name, messageId: message.id, position: delivery.position }
        this.#host.logger.warn(fields, 'the dead letter is refused as it is, headers are left out')
        letter = toTrimmedDeadLetter(message, failure, headerBytes)
      }
    }
    await this.#moved(letter, delivery, parent)
  }

  /** Publishes the delivery's replacement; where the broker can, both settle in one transaction. @throws as `publishConfirmed` */
  async #moved(message: EncodedMessage, delivery: TransportDelivery, parent: TraceContext | 'none'): Promise<void> {
    const { move } = this.#host
    if (move === undefined) return this.publishConfirmed([message], delivery, parent)
    const { drain } = this.#host
    const publish = async (messages: readonly EncodedMessage[]) => [await outcomeOf(move(delivery, messages))]
    await publishUntilConfirmed(this.#confirming(publish), [message], () => AbortSignal.any([delivery.signal, drain]))
  }

  /** For as long as the delivery is ours. */
  publishConfirmed(
    messages: readonly EncodedMessage[],
    delivery: TransportDelivery,
    parent?: TraceContext | 'none',
  ): Promise<void> {
    const host = this.#confirming((left) => this.#host.publish(left, parent))
    return publishUntilConfirmed(host, messages, () => AbortSignal.any([delivery.signal, this.#host.drain]))
  }

  #confirming(publish: ConfirmHost['publish']): ConfirmHost {
    const { clock, logger, confirmsSingly, refusals } = this.#host
    return { clock, logger, binding: this.#options.name, refusals, confirmsSingly, publish }
  }

  /** For as long as one of the deliveries is ours. @returns for each message why the broker does not have it */
  async publishEach(
    messages: readonly EncodedMessage[],
    deliveries: readonly TransportDelivery[],
  ): Promise<readonly unknown[]> {
    const loans = new Loans(deliveries)
    const host = this.#confirming((left) => this.#host.publish(left))
    try {
      return await publishEach(host, messages, () => AbortSignal.any([loans.signal, this.#host.drain]))
    } finally {
      loans.dispose()
    }
  }

  /**
   * True when this is no attempt: the database was away, waits for an operator, or was busy in a transaction that is the binding's own; or a
   * part of this process is closed. A handler that conflicts with itself fails in the end: a conflict counts as an attempt after 20
   * tries, which take some seconds. A session that the server ended because the handler paused for too long in it is one. Has no effect.
   */
  isAway(delivery: TransportDelivery, error: unknown): boolean {
    if (isClosed(error)) return true
    const fault = writeFault(error)
    if (fault === 'session-ended') return false
    if (fault === 'operator') return true
    if (fault === 'busy') return this.#options.isInTransaction && (this.#busy.get(delivery) ?? 0) < MOST_BUSY_TRIES
    const away = sqlAway(error)
    return away === 'unreachable' || (away === 'lost' && (this.#away.get(delivery) ?? 0) < MOST_LOST)
  }

  async #untilBack(delivery: TransportDelivery, error: Error): Promise<'again' | 'returned'> {
    const fault = writeFault(error)
    const isBusy = fault === 'busy'
    if (!isBusy) this.#host.refusals?.waits(delivery, error)
    const counted = isBusy ? this.#busy : this.#away
    const times = (counted.get(delivery) ?? 0) + 1
    counted.set(delivery, times)
    const delayMs = isBusy ? busyPauseMs(times) : backoffDelayMs(RECONNECT_BACKOFF, times, Math.random())
    return (await this.#pause(delivery, delayMs)) ? 'again' : 'returned'
  }

  #worthRetrying(error: Error): boolean {
    try {
      return synchronous('`retryable`', this.#options.retryable(error), 'true or false')
    } catch (cause) {
      this.#host.logger.error(
        { err: cause, binding: this.#options.name },
        'the `retryable` option threw; not tried again',
      )
      return false
    }
  }

  /** Aborts when there is no use in waiting on: the delivery was taken away or the binding stops. */
  mayWait(delivery: TransportDelivery): AbortSignal {
    return AbortSignal.any([delivery.signal, this.#host.stopping])
  }

  gone(delivery: TransportDelivery): boolean {
    return delivery.signal.aborted || this.#host.drain.aborted
  }

  /** `undefined` when the next attempt may begin here; else how this delivery ended. */
  async #beforeNext(delivery: TransportDelivery, attempt: number, delayMs: number): Promise<HandlingEnd | undefined> {
    if (this.#options.retry === 'delayed') {
      const end = await this.#retryLater(delivery, attempt, delayMs)
      if (end !== undefined) return end
    }
    return (await this.#pause(delivery, delayMs)) ? undefined : 'returned'
  }

  /** Sends the copy for the next attempt. `undefined` when the broker will never take it: then it is tried again here. */
  async #retryLater(delivery: TransportDelivery, attempts: number, delayMs: number): Promise<HandlingEnd | undefined> {
    const copy = toRetry(delivery, this.#options.group ?? '', attempts, this.#host.clock.now() + delayMs)
    try {
      await this.#moved(copy, delivery, parentOf(delivery))
      return 'retried'
    } catch (cause) {
      if (this.gone(delivery)) return 'returned'
      const fields = { err: cause, binding: this.#options.name, messageId: copy.id, attempts }
      this.#host.logger.error(fields, 'the retry channel refuses the message; it is tried again in its place')
      return undefined
    }
  }

  /** Waits for the next attempt. False when the delivery was taken away or the binding stops: it goes back. */
  async #pause(delivery: TransportDelivery, delayMs: number): Promise<boolean> {
    try {
      await this.#host.clock.sleep(delayMs, this.mayWait(delivery))
      // A process that stood still through the pause has not heard of its loss yet.
      return !this.gone(delivery)
    } catch {
      return false
    }
  }
}

function reasonOf(error: Error): string {
  if (isClosed(error)) return CLOSED
  const fault = writeFault(error)
  return fault === 'busy' ? DATABASE_BUSY : fault === 'operator' ? FOR_OPERATOR : DATABASE_AWAY
}

/** Parent for spans about a delivery without a handler call under way. */
function parentOf({ message }: TransportDelivery): TraceContext | 'none' {
  return readTraceContext(message.headers) ?? 'none'
}

/** For log lines about a delivery. */
function traceOf({ message }: TransportDelivery): Readonly<Record<string, string>> {
  return traceFields(readTraceContext(message.headers))
}
