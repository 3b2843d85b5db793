import { backoffDelayMs } from '../core/backoff.ts'
import type { Clock } from '../core/clock.ts'
import { toError } from '../core/errors.ts'
import { derivedId } from '../core/ids.ts'
import type { Logger } from '../core/logger.ts'
import { type AmbientHeaders, type Made, make, withAmbient } from './ambient-headers.ts'
import { Outputs, type ProcessorBinding, type SinkBinding } from './binding.ts'
import { publishUntilConfirmed } from './confirm.ts'
import { DeliveryContext } from './context.ts'
import { type Failure, toDeadLetter } from './dead-letter.ts'
import { decodePayload, encodeMessage } from './encode.ts'
import type { EncodedMessage } from './message.ts'
import type { ResolvedConsumer } from './options.ts'
import type { PublishOutcome, TransportDelivery } from './transport.ts'

/** What handling needs of the binder around it. */
export interface HandlingHost {
  readonly service: string
  readonly clock: Clock
  readonly logger: Logger
  readonly ambient: AmbientHeaders | undefined
  /** Aborts when the binding stops: what waits for its next attempt goes back instead. */
  readonly stopping: AbortSignal
  /** Aborts when the drain ran out of time. */
  readonly drain: AbortSignal
  publish(messages: readonly EncodedMessage[]): Promise<readonly PublishOutcome[]>
}

/**
 * How one delivery ended.
 * - `handled`, `dead-lettered`, `dropped`: everything is confirmed, settle it
 * - `returned`: taken away in the middle, it comes back
 * - `halted`: failed for good and the binding wants to stop rather than go on
 */
export type HandlingEnd = 'handled' | 'dead-lettered' | 'dropped' | 'returned' | 'halted'

/**
 * The life of one delivery, top to bottom: decode, call the handler until it works or may not be tried again, get its
 * outputs confirmed, or get the dead letter confirmed. Settling comes after, in the caller. Never rejects.
 */
export class Handling {
  readonly #binding: SinkBinding | ProcessorBinding
  readonly #options: ResolvedConsumer
  readonly #host: HandlingHost

  constructor(binding: SinkBinding | ProcessorBinding, options: ResolvedConsumer, host: HandlingHost) {
    this.#binding = binding
    this.#options = options
    this.#host = host
  }

  async handle(delivery: TransportDelivery): Promise<HandlingEnd> {
    let payload: unknown
    try {
      const decoded = decodePayload(this.#binding.input, delivery.message)
      payload = decoded instanceof Promise ? await decoded : decoded
    } catch (error) {
      return this.#fail(delivery, error, 0)
    }
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#attempt(payload, delivery, attempt)
        return 'handled'
      } catch (thrown) {
        if (this.#gone(delivery)) return 'returned'
        const error = toError(thrown)
        if (attempt >= this.#options.maxAttempts || !this.#worthRetrying(error))
          return this.#fail(delivery, error, attempt)
        this.#host.logger.warn(
          { err: error, binding: this.#options.name, messageId: delivery.message.id, attempt },
          'handler failed, will be tried again',
        )
        if (!(await this.#pause(delivery, backoffDelayMs(this.#options.backoff, attempt, Math.random()))))
          return 'returned'
      }
    }
  }

  /** Not async, for it is called for each message: what a sink's handler returns is awaited by the caller. */
  #attempt(payload: unknown, delivery: TransportDelivery, attempt: number): unknown {
    const binding = this.#binding
    if (binding.options.inbox !== undefined) return this.#attemptInTransaction(payload, delivery, attempt)
    const { group } = this.#options
    const context = new DeliveryContext(delivery, attempt, group, this.#host.drain, this.#host.logger)
    if (binding.kind === 'sink') return binding.handler(payload, context)
    return this.#transform(binding, payload, delivery, context)
  }

  async #transform(
    binding: ProcessorBinding,
    payload: unknown,
    delivery: TransportDelivery,
    context: DeliveryContext,
  ): Promise<void> {
    const made = await this.#call(payload, context)
    if (made.value === undefined) return
    await this.#publishConfirmed(await this.#encode(made, binding, delivery.message), delivery)
  }

  async #attemptInTransaction(payload: unknown, delivery: TransportDelivery, attempt: number): Promise<void> {
    const binding = this.#binding
    const { inbox } = binding.options
    const { message } = delivery
    const group = this.#options.group ?? ''
    await inbox?.process(
      { group, destination: message.destination, source: message.source, id: message.id },
      async (tx, emit) => {
        const context = new DeliveryContext(delivery, attempt, group, this.#host.drain, this.#host.logger, tx)
        const made = await this.#call(payload, context)
        if (binding.kind === 'processor' && made.value !== undefined)
          await emit(await this.#encode(made, binding, message))
      },
    )
  }

  /** Only what a processor returns is sent. */
  #call(payload: unknown, context: DeliveryContext): Promise<Made> {
    const binding = this.#binding
    return make(binding.kind === 'processor' ? this.#host.ambient : undefined, () => binding.handler(payload, context))
  }

  /**
   * An output's id follows from its input's, so that what a handler sends again after a crash is the same message for
   * whoever deduplicates. Instances without a group each send their own.
   */
  async #encode(made: Made, binding: ProcessorBinding, input: EncodedMessage): Promise<EncodedMessage[]> {
    const payloads = made.value instanceof Outputs ? made.value.payloads : [made.value]
    const { group } = this.#options
    return Promise.all(
      payloads.map(async (payload, index) => {
        const id = group === null ? undefined : derivedId(input.source, input.id, input.destination, group, index)
        const options = withAmbient(made.ambientOf(payload), binding.output.name, { id })
        return encodeMessage(binding.output, payload, this.#host.service, options)
      }),
    )
  }

  async #fail(delivery: TransportDelivery, error: unknown, attempts: number): Promise<HandlingEnd> {
    const { group, onFailure, name } = this.#options
    const { message, position } = delivery
    const fields = { err: error, binding: name, messageId: message.id, position, attempts, onFailure }
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
      await this.#publishConfirmed([toDeadLetter(message, failure)], delivery)
      return 'dead-lettered'
    } catch (cause) {
      if (this.#gone(delivery)) return 'returned'
      this.#host.logger.error({ ...fields, cause }, 'the dead letter channel refuses the message; the binding halts')
      return 'halted'
    }
  }

  /** For as long as the delivery is ours. */
  #publishConfirmed(messages: readonly EncodedMessage[], delivery: TransportDelivery): Promise<void> {
    return publishUntilConfirmed(this.#host, messages, () => AbortSignal.any([delivery.signal, this.#host.drain]))
  }

  #worthRetrying(error: Error): boolean {
    try {
      return this.#options.retryable(error)
    } catch (cause) {
      this.#host.logger.error(
        { err: cause, binding: this.#options.name },
        'the `retryable` option threw; not tried again',
      )
      return false
    }
  }

  #gone(delivery: TransportDelivery): boolean {
    return delivery.signal.aborted || this.#host.drain.aborted
  }

  /** Waits for the next attempt. False when the delivery was taken away or the binding stops: it goes back. */
  async #pause(delivery: TransportDelivery, delayMs: number): Promise<boolean> {
    try {
      await this.#host.clock.sleep(delayMs, AbortSignal.any([delivery.signal, this.#host.stopping]))
      return true
    } catch {
      return false
    }
  }
}
