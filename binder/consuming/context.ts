import { type ContextLogger, type Logger, withFields } from '../../core/logger.ts'
import type { SqlTransaction } from '../../core/sql.ts'
import type { TransactionContext } from '../bindings/handler-types.ts'
import { type EncodedMessage, type Headers, publicHeaders } from '../channel/message.ts'
import type { TransportDelivery } from '../transport/transport.ts'

/** Values shared by the deliveries of one run of a binding. */
export interface DeliveryScope {
  readonly group: string | null
  /** Aborts when the drain's time limit passes. */
  readonly drain: AbortSignal
  readonly handlerLogger: Logger
}

/** Property of a context with its message. Not a private field, so that contexts created by `withContext` have it, too. */
const MESSAGE = Symbol('message')

/** Context of a delivery for a handler. Created for each call; expensive values on first access. */
export class DeliveryContext implements TransactionContext {
  readonly attempt: number
  readonly #delivery: TransportDelivery
  readonly #scope: DeliveryScope
  readonly #tx: SqlTransaction | undefined
  #headers: Headers | undefined

  constructor(delivery: TransportDelivery, attempt: number, scope: DeliveryScope, tx?: SqlTransaction) {
    this.#delivery = delivery
    this.attempt = attempt
    this.#scope = scope
    this.#tx = tx
  }

  /** Returns the message of a handler's context in its sent form; `undefined` for another context, created by a middleware. */
  static messageOf(context: object): EncodedMessage | undefined {
    return Reflect.get(context, MESSAGE)
  }

  get [MESSAGE](): EncodedMessage {
    return this.#delivery.message
  }

  get group(): string | null {
    return this.#scope.group
  }

  get id(): string {
    return this.#delivery.message.id
  }

  get channel(): string {
    return this.#delivery.message.destination
  }

  get key(): string | null {
    return this.#delivery.message.key
  }

  get headers(): Headers {
    this.#headers ??= publicHeaders(this.#delivery.message.headers)
    return this.#headers
  }

  get time(): number {
    return this.#delivery.message.time
  }

  get source(): string {
    return this.#delivery.message.source
  }

  get position(): string {
    return this.#delivery.position
  }

  get redelivered(): boolean | undefined {
    return this.#delivery.redelivered
  }

  get signal(): AbortSignal {
    return AbortSignal.any([this.#delivery.signal, this.#scope.drain])
  }

  get log(): ContextLogger {
    return withFields(this.#scope.handlerLogger, {
      messageId: this.id,
      channel: this.channel,
      group: this.group,
      attempt: this.attempt,
    })
  }

  get tx(): SqlTransaction {
    if (this.#tx === undefined)
      throw new TypeError('context.tx: this binding has no inbox; give it one: { group, inbox }')
    return this.#tx
  }
}
