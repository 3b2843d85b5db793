import type { HandlerContext } from '../binder/bindings/handler-types.ts'
import { Lanes } from '../binder/consuming/lanes.ts'
import { SECOND } from '../core/clock.ts'
import { toError } from '../core/errors.ts'
import { turnsOf } from '../core/event-loop-turns.ts'
import { finishesWithin, within } from '../core/time-limit.ts'
import type { Acknowledgements } from './acknowledgements.ts'
import { matches } from './address.ts'
import { type EventEnvelope, parseEvent } from './envelope.ts'
import { BusError } from './errors.ts'
import type { Handled, Handlers } from './handlers.ts'
import { failedWith, type Outcome } from './outcome.ts'
import { SeenEvents } from './seen-events.ts'
import type { BusContext } from './shared-dependencies.ts'

interface Item {
  readonly event: EventEnvelope
  readonly body: Uint8Array
}

/** Number of senders whose events are handled concurrently. */
const CONCURRENCY = 64
/** How long a shutdown waits until its own acknowledgement is sent. */
const ANSWER_MS = 5 * SECOND
/** Approximate limits of waiting events and their size; beyond, the broker keeps them. */
const MAX_WAITING = 1_000
const MAX_WAITING_BYTES = 16 * 1024 * 1024

/**
 * Passes events from the channel to the handlers. Intake never waits for a handler: events of one sender are handled one after
 * the other, those of several concurrently, and a hanging one is abandoned after `handlerTimeoutMs`.
 */
export class Receiver {
  readonly #context: BusContext
  readonly #handlers: Handlers
  readonly #answers: Acknowledgements
  readonly #seen: SeenEvents
  readonly #lanes: Lanes<Item>
  readonly #stopping = new AbortController()
  readonly #room: Array<() => void> = []
  #bytes = 0
  #closed = false

  constructor(context: BusContext, handlers: Handlers, answers: Acknowledgements) {
    const { clock, self, maxSkewMs } = context
    this.#context = context
    this.#handlers = handlers
    this.#answers = answers
    this.#seen = new SeenEvents({
      clock,
      windowMs: context.dedupeWindowMs,
      maxEvents: context.dedupeMaxEvents,
      own: { sender: self, maxSkewMs },
    })
    this.#lanes = new Lanes(
      CONCURRENCY,
      ({ event }) => event.sender,
      (item) => this.#run(item),
      { turns: turnsOf(clock) },
    )
    this.#lanes.hold()
  }

  /** Starts to call handlers; earlier events have waited. */
  open(): void {
    this.#lanes.release()
  }

  /** Handles a message of the channel. Never rejects. */
  async arrived(body: Uint8Array, context: HandlerContext): Promise<void> {
    const { guard, counters, address } = this.#context
    const event = parseEvent(context)
    if (typeof event !== 'string' && !matches(event.to, address)) {
      counters.notAddressed++
      return
    }
    const admitted = guard.admit(event, body, context.id)
    if (admitted !== undefined) await this.accept(admitted, body)
  }

  /** Accepts a genuine event for this instance; also its own, as soon as the broker has it. */
  async accept(event: EventEnvelope, body: Uint8Array): Promise<void> {
    const { counters, guard } = this.#context
    const seen = this.#seen
    if (this.#closed) return
    if (seen.has(event)) return this.#again(event)
    if (guard.isStale(event.time) || (guard.isSigned && seen.isForgotten(event))) {
      counters.dropped('stale', { messageId: event.id, claimsToBe: event.sender, time: event.time })
      return
    }
    seen.begin(event)
    counters.received++
    this.#bytes += body.byteLength
    this.#lanes.push({ event, body })
    while (this.#isFull && !this.#closed) await new Promise<void>((go) => this.#room.push(go))
  }

  /** Reason why messages of others are refused. */
  get trouble(): string | undefined {
    return this.#context.guard.trouble
  }

  get #isFull(): boolean {
    return this.#lanes.queued >= MAX_WAITING || (this.#lanes.queued > 0 && this.#bytes >= MAX_WAITING_BYTES)
  }

  /** Lets running handlers finish, then aborts them. Waiting events are dropped. */
  async close(drainTimeoutMs: number): Promise<void> {
    this.#closed = true
    this.#lanes.remove(() => true)
    this.#makeRoom()
    await finishesWithin(this.#context.clock, drainTimeoutMs, this.#lanes.idle())
    this.#stopping.abort(new Error('the bus is closed'))
  }

  /** Repeated because the answer has not arrived. While a handler runs, its outcome will be the answer. */
  async #again(event: EventEnvelope): Promise<void> {
    this.#context.counters.duplicates++
    const outcome = this.#seen.outcomeOf(event)
    if (outcome !== undefined && event.wantsAck) void this.#answers.give(event, outcome, true)
  }

  async #run({ event, body }: Item): Promise<void> {
    const { clock, handlerTimeoutMs } = this.#context
    const limit = new AbortController()
    const signal = AbortSignal.any([limit.signal, this.#stopping.signal])
    const late = new BusError('bus.handler_timeout', { event: event.name, timeoutMs: handlerTimeoutMs })
    // A rejection would have no listener in a lane and would block it.
    const handling = this.#handle(event, body, signal).catch((error: unknown): Handled => {
      return { outcome: failedWith(toError(error)) }
    })
    const given = await within(clock, handlerTimeoutMs, handling, undefined)
    if (given === undefined) limit.abort(late)
    const handled = given ?? { outcome: failedWith(late) }
    this.#bytes -= body.byteLength
    this.#seen.end(event, handled.outcome)
    this.#count(event, handled.outcome)
    this.#makeRoom()
    // The next event of this sender does not wait until the answer is sent.
    void this.#finish(event, handled)
  }

  async #handle(event: EventEnvelope, body: Uint8Array, signal: AbortSignal): Promise<Handled> {
    const refusal = await this.#context.authorization.refusalOf(event.name, event.from, event.to.text)
    if (refusal === undefined) {
      const turns = turnsOf(this.#context.clock)
      while (turns.isDue()) await turns.next()
      return this.#handlers.handle(event, body, signal)
    }
    this.#context.counters.refused++
    this.#context.logger.warn({ err: refusal, eventId: event.id, from: event.sender }, 'bus: event refused')
    return { outcome: failedWith(refusal) }
  }

  async #finish(event: EventEnvelope, { outcome, afterAck }: Handled): Promise<void> {
    if (event.wantsAck) await finishesWithin(this.#context.clock, ANSWER_MS, this.#answers.give(event, outcome, false))
    afterAck?.()
  }

  #count({ id, name, sender }: EventEnvelope, { status, error }: Outcome): void {
    const { counters, logger, measures } = this.#context
    measures?.handled(status === 'ignored' ? '(ignored)' : name, status)
    if (status === 'acked') counters.handled++
    else if (status === 'ignored') counters.ignored++
    else {
      counters.failed++
      logger.warn({ eventId: id, event: name, from: sender, error }, 'bus: event failed')
    }
  }

  #makeRoom(): void {
    for (const go of this.#room.splice(0)) go()
  }
}
