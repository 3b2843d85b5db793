import { toError } from '../../core/errors.ts'
import { type EventLoopTurns, turnsOf } from '../../core/event-loop-turns.ts'
import { isThenable } from '../../core/option-checks.ts'
import { readable } from '../../core/thrown-values.ts'
import type { ProcessorBinding, SinkBinding } from '../bindings/declarations.ts'
import { Discarded } from '../bindings/discarded-result.ts'
import type { ResolvedConsumer } from '../bindings/resolve-options.ts'
import { isRedriveMark } from '../channel/id-namespace.ts'
import { decodePayload } from '../channel/message-codec.ts'
import type { ConsumerName } from '../telemetry/metrics.ts'
import type { TransportDelivery } from '../transport/transport.ts'
import { DeliveryContext, type DeliveryScope } from './context.ts'
import { Failures, type HandlingEnd } from './failure/failures.ts'
import { freshPayload } from './fresh-payload.ts'
import { HandlerCalls } from './handler-calls.ts'
import type { HandlingDependencies } from './handling-dependencies.ts'
import type { Permit } from './pace/circuit-breaker.ts'

/**
 * Handles one delivery: decodes it, calls the handler until it succeeds or has no attempt left, and waits until its outputs, or
 * the dead letter, are confirmed. The caller settles afterwards. Never rejects.
 */
export class Handling {
  readonly #binding: SinkBinding | ProcessorBinding
  readonly #options: ResolvedConsumer
  readonly #dependencies: HandlingDependencies
  readonly #consumer: ConsumerName
  readonly #scope: DeliveryScope
  readonly #failures: Failures
  readonly #turns: EventLoopTurns
  readonly #calls: HandlerCalls

  constructor(binding: SinkBinding | ProcessorBinding, options: ResolvedConsumer, dependencies: HandlingDependencies) {
    this.#binding = binding
    this.#options = options
    this.#dependencies = dependencies
    this.#failures = new Failures(options, dependencies)
    this.#turns = turnsOf(dependencies.clock)
    this.#consumer = { destination: binding.input.name, group: options.group }
    this.#scope = { group: options.group, drain: dependencies.drain, handlerLogger: dependencies.handlerLogger }
    this.#calls = new HandlerCalls(binding, options, dependencies, { scope: this.#scope, failures: this.#failures })
  }

  /** True if a call ends with the handler, because nothing is sent and no transaction is awaited. */
  get isBare(): boolean {
    return this.#calls.isBare
  }

  /** Returns a promise only if there is something to wait for, because promises are most of the cost of a message here. */
  handle(delivery: TransportDelivery): HandlingEnd | Promise<HandlingEnd> {
    // The mark of a redrive, which every group of the dead letters receives, is not a letter.
    if (isRedriveMark(delivery.message)) return 'discarded'
    const before = this.#failures.attemptsBefore(delivery)
    const lost = this.#failures.takenAwayTooOften(delivery, before)
    if (lost !== undefined) return this.#failures.fail(delivery, lost, before)
    try {
      const payload = this.#read(delivery)
      if (!(payload instanceof Promise)) return this.#begin(payload, delivery, before)
      return payload.then(
        (late) => this.#beginLate(late, delivery, before),
        (error: unknown) => this.#unreadable(delivery, readable(error), before),
      )
    } catch (error) {
      return this.#unreadable(delivery, readable(error), before)
    }
  }

  #read(delivery: TransportDelivery): unknown {
    const { kind, input } = this.#binding
    const isRaw = kind === 'sink' && this.#binding.raw === true
    return isRaw ? delivery.message : decodePayload(input, delivery.message)
  }

  #unreadable(delivery: TransportDelivery, error: unknown, before: number): Promise<HandlingEnd> {
    this.#dependencies.telemetry?.unreadable(delivery, this.#consumer, error)
    const tell = this.#binding.kind === 'sink' ? this.#binding.unreadable : undefined
    if (tell === undefined) return this.#failures.fail(delivery, error, before)
    return this.#tellUnreadable(tell, delivery, toError(error), before)
  }

  /** Calls `unreadable`, after which the dead letter follows. */
  async #tellUnreadable(
    tell: NonNullable<SinkBinding['unreadable']>,
    delivery: TransportDelivery,
    error: Error,
    before: number,
  ): Promise<HandlingEnd> {
    for (let attempt = before + 1; ; attempt++) {
      while (this.#turns.isDue()) await this.#turns.next()
      try {
        const context = new DeliveryContext(delivery, attempt, this.#scope)
        if ((await tell(error, context)) === 'handled') return 'handled'
        return await this.#failures.fail(delivery, error, before)
      } catch (raw) {
        const thrown = readable(raw)
        const end = await this.#failures.failed(delivery, thrown, attempt, false)
        if (end === 'again') attempt--
        else if (end !== undefined) return end
      }
    }
  }

  /**
   * After an asynchronous decode the handler is not called from `Lanes`, which yields to the event loop between messages, and
   * many payloads may have been decoded in one run of microtasks. So this yields directly before the call: during an `await` in
   * between, other handlers would use up the turn.
   */
  async #beginLate(payload: unknown, delivery: TransportDelivery, before: number): Promise<HandlingEnd> {
    while (this.#turns.isDue()) await this.#turns.next()
    return this.#failures.gone(delivery) ? 'returned' : this.#begin(payload, delivery, before)
  }

  /** Never throws. If nothing has to be checked before, the handler is called at once. */
  #begin(payload: unknown, delivery: TransportDelivery, before: number): HandlingEnd | Promise<HandlingEnd> {
    const { telemetry, pace } = this.#dependencies
    if (telemetry !== undefined || pace !== undefined) return this.#attempts(payload, delivery, before)
    let begun: unknown
    try {
      begun = this.#calls.make(payload, delivery, before + 1)
    } catch (thrown) {
      begun = Promise.reject(thrown)
    }
    if (isThenable(begun)) return this.#attempts(payload, delivery, before, begun)
    return this.#ended(delivery, begun)
  }

  /** @param begun result of the first call, if it was already made */
  async #attempts(
    read: unknown,
    delivery: TransportDelivery,
    before: number,
    begun?: PromiseLike<unknown>,
  ): Promise<HandlingEnd> {
    const { pace } = this.#dependencies
    let payload = read
    let isFree = false
    for (let attempt = before + 1, calls = 0; ; attempt += Number(!isFree), calls++) {
      const mayWait = (): AbortSignal => this.#failures.mayWait(delivery)
      const permit: Permit | undefined = pace && (await pace.enter(Number(calls > 0), mayWait, isFree))
      if (pace !== undefined && permit === undefined) return 'returned'
      if (pace !== undefined || calls > 0) {
        while (this.#turns.isDue()) await this.#turns.next()
        if (this.#failures.gone(delivery)) {
          if (permit !== undefined) pace?.abandoned(permit)
          return 'returned'
        }
      }
      this.#dependencies.runningCalls.begin(delivery)
      try {
        const result = await ((calls === 0 && begun) || this.#observed(payload, delivery, attempt))
        this.#dependencies.runningCalls.end(delivery)
        if (permit !== undefined) pace?.succeeded(permit)
        return this.#ended(delivery, result)
      } catch (raw) {
        this.#dependencies.runningCalls.end(delivery)
        const thrown = readable(raw)
        if (this.#calls.isBare) this.#failures.handlerEnded([delivery])
        const isGone = this.#failures.gone(delivery)
        isFree = permit !== undefined && pace?.threw(permit, thrown, isGone, delivery.message) === true
        const end = await this.#failures.failed(delivery, thrown, attempt, isFree)
        if (end === 'again') attempt--
        else if (end !== undefined) return end
        payload = await freshPayload(this.#binding.input, delivery.message, payload)
      }
    }
  }

  #ended(delivery: TransportDelivery, result: unknown): HandlingEnd {
    return result instanceof Discarded ? this.#discard(delivery, result) : 'handled'
  }

  #observed(payload: unknown, delivery: TransportDelivery, attempt: number): unknown {
    const { telemetry } = this.#dependencies
    if (telemetry === undefined) return this.#calls.make(payload, delivery, attempt)
    return telemetry.process(delivery, this.#consumer, attempt, () => this.#calls.make(payload, delivery, attempt))
  }

  #discard(delivery: TransportDelivery, { reason }: Discarded): 'discarded' {
    const { id: messageId } = delivery.message
    this.#dependencies.logger.info({ binding: this.#options.name, messageId, reason }, 'message discarded')
    return 'discarded'
  }
}
