import { type EventLoopTurns, turnsOf } from '../../core/event-loop-turns.ts'
import type { ProcessorBinding, SinkBinding } from '../bindings/declarations.ts'
import { Discarded } from '../bindings/discarded-result.ts'
import type { Inbox, InboxMessage, InboxWork, SpecOf } from '../bindings/inbox.ts'
import type { ResolvedConsumer } from '../bindings/resolve-options.ts'
import { sourceOf } from '../channel/id-namespace.ts'
import type { EncodedMessage } from '../channel/message.ts'
import { BinderError } from '../errors.ts'
import { askingOf } from '../requests/request-reply-format.ts'
import { callKeepingHeaders, type HandlerResult } from '../sending/ambient-headers.ts'
import { encodeOutputs, outputIds } from '../sending/encode-outputs.ts'
import type { TransportDelivery } from '../transport/transport.ts'
import { DeliveryContext, type DeliveryScope } from './context.ts'
import type { Failures } from './failure/failures.ts'
import { freshPayload } from './fresh-payload.ts'
import type { HandlingDependencies } from './handling-dependencies.ts'

/** Source of repeated requests in an inbox; no service has a space in its name. */
const ASKED = 'asked again'

/** Calls the handler once, and sends its outputs: each confirmed by the broker, or all stored in the transaction of the inbox. */
export class HandlerCalls {
  readonly #binding: SinkBinding | ProcessorBinding
  readonly #options: ResolvedConsumer
  readonly #dependencies: HandlingDependencies
  readonly #scope: DeliveryScope
  readonly #failures: Failures
  readonly #turns: EventLoopTurns
  readonly #specOf: SpecOf
  /** True if a call ends with the handler, because nothing is sent and no transaction is awaited. */
  readonly isBare: boolean

  constructor(
    binding: SinkBinding | ProcessorBinding,
    options: ResolvedConsumer,
    dependencies: HandlingDependencies,
    { scope, failures }: { readonly scope: DeliveryScope; readonly failures: Failures },
  ) {
    this.#binding = binding
    this.#options = options
    this.#dependencies = dependencies
    this.#scope = scope
    this.#failures = failures
    this.#turns = turnsOf(dependencies.clock)
    this.#specOf = (destination) => dependencies.destinations.spec(destination)
    this.isBare = binding.kind === 'sink' && binding.options.inbox === undefined
  }

  /** Not async, because it is called for each message; the caller awaits the result of a sink's handler. */
  make(payload: unknown, delivery: TransportDelivery, attempt: number): unknown {
    const binding = this.#binding
    if (binding.options.inbox !== undefined) return this.#makeInTransaction(payload, delivery, attempt)
    const context = new DeliveryContext(delivery, attempt, this.#scope)
    if (binding.kind === 'sink') return binding.handler(payload, context)
    return this.#transform(binding, payload, delivery, context)
  }

  async #transform(
    binding: ProcessorBinding,
    payload: unknown,
    delivery: TransportDelivery,
    context: DeliveryContext,
  ): Promise<unknown> {
    const made = await this.#call(payload, delivery, context)
    if (made.value === undefined || made.value instanceof Discarded) return made.value
    await this.#failures.sends.confirmed(await this.#encode(made, binding, delivery.message), delivery)
  }

  async #makeInTransaction(payload: unknown, delivery: TransportDelivery, attempt: number): Promise<unknown> {
    const binding = this.#binding
    const { inbox } = binding.options
    const { message } = delivery
    const group = this.#options.group ?? ''
    const name = { group, destination: message.destination, source: sourceOf(message), id: message.id, delivery }
    let discarded: Discarded | undefined
    let calls = 0
    const work: InboxWork = async (tx, emit) => {
      discarded = undefined
      const context = new DeliveryContext(delivery, attempt, this.#scope, tx)
      const own = calls++ > 0 ? await freshPayload(binding.input, message, payload) : payload
      while (this.#turns.isDue()) await this.#turns.next()
      this.#failures.requireHeld([delivery])
      const made = await this.#call(own, delivery, context)
      if (made.value instanceof Discarded) discarded = made.value
      else if (binding.kind === 'processor' && made.value !== undefined)
        await emit(this.#created(await this.#encode(made, binding, message)), this.#specOf)
    }
    const asking = this.#dependencies.answer && askingOf(message)
    if (inbox === undefined || asking === undefined) await inbox?.process(name, work, this.#options)
    else await this.#answerOnce(inbox, [name, { ...name, source: ASKED, id: asking }], message, work)
    return discarded
  }

  /**
   * Handles a request that was handled before. Its redelivery needs no answer, because that was sent, or waits in the outbox. A
   * repeated request has a new id, and without an answer of its own its requester would wait in vain.
   */
  async #answerOnce(
    inbox: Inbox,
    names: readonly [InboxMessage, InboxMessage],
    request: EncodedMessage,
    work: InboxWork,
  ): Promise<void> {
    if (inbox.processBatch === undefined)
      return void (await inbox.process(names[0], work, { slowAfterMs: this.#options.slowAfterMs }))
    await inbox.processBatch(
      names,
      async (tx, fresh, emit) => {
        if (fresh.includes(0)) return work(tx, emit)
        const { id, destination } = request
        const handled = new BinderError('binder.request_handled', { id, destination })
        const answer = fresh.includes(1) ? this.#dependencies.answer?.(request, handled) : undefined
        if (answer !== undefined) await emit(this.#created([answer.message]), this.#specOf)
      },
      this.#options,
    )
  }

  #created(outputs: EncodedMessage[]): EncodedMessage[] {
    return this.#dependencies.telemetry?.created(outputs) ?? outputs
  }

  /** Sends only results of a processor. */
  async #call(payload: unknown, delivery: TransportDelivery, context: DeliveryContext): Promise<HandlerResult> {
    const binding = this.#binding
    const ambient = binding.kind === 'processor' ? this.#dependencies.ambient : undefined
    try {
      return await callKeepingHeaders(ambient, () => binding.handler(payload, context))
    } finally {
      this.#failures.handlerEnded([delivery])
    }
  }

  #encode(made: HandlerResult, binding: ProcessorBinding, input: EncodedMessage): Promise<EncodedMessage[]> {
    return encodeOutputs(made, binding.output, this.#dependencies, outputIds(input, this.#options.group))
  }
}
