import { jsonCodec } from '../core/codec.ts'
import { copyData } from '../core/copy-data.ts'
import { toError } from '../core/errors.ts'
import { type Logger, withFields } from '../core/logger.ts'
import { validate } from '../core/schema.ts'
import type { BusEvent, EventContext, EventHandler } from './define-event.ts'
import type { EventEnvelope } from './envelope.ts'
import { ACKED, failedWith, IGNORED, type Outcome } from './outcome.ts'

/** Result of a built-in handler: nothing, a note that the event is not for this instance, or work to do after the answer. */
export type HandlerResult = undefined | void | typeof NOT_MINE | AfterAck
export const NOT_MINE = Symbol('not mine')

export class AfterAck {
  readonly run: () => void

  constructor(run: () => void) {
    this.run = run
  }
}

export type AnyHandler = (payload: unknown, context: EventContext) => HandlerResult | Promise<HandlerResult>

export interface Handled {
  readonly outcome: Outcome
  readonly afterAck?: (() => void) | undefined
}

interface Entry {
  readonly event: BusEvent
  readonly handlers: Set<{ readonly call: AnyHandler }>
}

/** Handlers by the name of their event. */
export class Handlers {
  readonly #entries = new Map<string, Entry>()
  readonly #logger: Logger

  constructor(logger: Logger) {
    this.#logger = logger
  }

  /** @returns a function that removes it @throws TypeError when the name belongs to another event */
  add(event: BusEvent, handler: EventHandler<unknown> | AnyHandler): () => void {
    let entry = this.#entries.get(event.name)
    if (entry === undefined) this.#entries.set(event.name, (entry = { event, handlers: new Set() }))
    if (entry.event.schema !== event.schema)
      throw new TypeError(`event "${event.name}" is declared twice with different schemas: share one defineEvent`)
    const { handlers } = entry
    const item = { call: handler as AnyHandler }
    handlers.add(item)
    return () => handlers.delete(item)
  }

  /** Calls all handlers, one after the other, even if one fails. Never rejects. */
  async handle(envelope: EventEnvelope, body: Uint8Array, signal: AbortSignal): Promise<Handled> {
    const entry = this.#entries.get(envelope.name)
    if (entry === undefined || entry.handlers.size === 0) return { outcome: IGNORED }
    try {
      const payload = await validate(`event "${envelope.name}"`, entry.event.schema, jsonCodec.decode(body))
      return await callAll(Array.from(entry.handlers), payload, this.#context(envelope, signal))
    } catch (error) {
      return { outcome: failedWith(error) }
    }
  }

  #context(envelope: EventEnvelope, signal: AbortSignal): EventContext {
    const { id, name, from, sender, to, time } = envelope
    const log = withFields(this.#logger, { eventId: id, event: name, from: sender })
    return { id, event: name, from, to: to.text, time, signal, log }
  }
}

async function callAll(
  handlers: readonly { readonly call: AnyHandler }[],
  payload: unknown,
  context: EventContext,
): Promise<Handled> {
  const failures: Error[] = []
  const after: AfterAck[] = []
  let isMine = false
  for (const { call } of handlers) {
    try {
      // Each handler gets a copy, because another may modify the payload.
      const result = await call(handlers.length > 1 ? copyData(payload) : payload, context)
      isMine ||= result !== NOT_MINE
      if (result instanceof AfterAck) after.push(result)
    } catch (error) {
      isMine = true
      failures.push(toError(error))
      context.log.error({ err: error }, 'bus: a handler failed')
    }
  }
  const [failure] = failures
  const afterAck = after.length === 0 ? undefined : () => after.forEach(({ run }) => run())
  if (failure !== undefined) return { outcome: failedWith(failure), afterAck }
  return { outcome: isMine ? ACKED : IGNORED, afterAck }
}
