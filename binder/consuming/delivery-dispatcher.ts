import type { Clock } from '../../core/clock.ts'
import { type EventLoopTurns, turnsOf } from '../../core/event-loop-turns.ts'
import type { Logger } from '../../core/logger.ts'
import { uncertainSignal } from '../transport/kit/last-heard.ts'
import type { TransportDelivery } from '../transport/transport.ts'
import type { ConsumerRun } from './consumer-run.ts'
import type { HandlingEnd } from './failure/failures.ts'
import { WithdrawnDeliveryCounts } from './failure/withdrawn-delivery-counts.ts'
import type { Handling } from './handling.ts'
import type { RunHandling } from './run-handling.ts'
import { RunningCalls } from './running-calls.ts'

/** Events of a dispatcher. Neither may throw. */
export interface DispatcherEvents {
  /** A turn has ended, before its messages are settled. */
  onTurnEnded(): void
  onEnded(delivery: TransportDelivery, end: HandlingEnd): void
}

/** Handling before the first run. */
const NONE: RunHandling = { one: undefined, batch: undefined }

/** Passes deliveries to the handling of the present run. Neither throws nor rejects, whatever the handling does. */
export class DeliveryDispatcher {
  /** Kept across runs. */
  readonly withdrawn = new WithdrawnDeliveryCounts()
  /** Kept across runs, because a call of an earlier one may still be running. */
  readonly runningCalls: RunningCalls
  readonly #binding: string
  readonly #logger: Logger
  readonly #turns: EventLoopTurns
  readonly #events: DispatcherEvents
  #run: ConsumerRun
  #handling = NONE

  constructor(
    binding: string,
    run: ConsumerRun,
    { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
    events: DispatcherEvents,
  ) {
    this.runningCalls = new RunningCalls(clock)
    this.#binding = binding
    this.#logger = logger
    this.#turns = turnsOf(clock)
    this.#events = events
    this.#run = run
  }

  /** Starts a run, which all later messages belong to. */
  begin(run: ConsumerRun, handling: RunHandling): void {
    this.#run = run
    this.#handling = handling
  }

  /** Returns a promise only if there is something to wait for, because promises are most of the cost of a message here. */
  one(delivery: TransportDelivery): Promise<void> | undefined {
    const { one } = this.#handling
    if (one === undefined || delivery.signal.aborted) return this.#ended(delivery, 'returned')
    const end = this.#handle(one, delivery)
    if (typeof end === 'string') return this.#finished(delivery, end)
    return end.then(
      (late) => this.#finished(delivery, late),
      (error: unknown) => this.#finished(delivery, this.#unexpected(error)),
    )
  }

  /** @param done called for each delivery as soon as it is settled */
  async batch(deliveries: readonly TransportDelivery[], done: (delivery: TransportDelivery) => void): Promise<void> {
    const { batch } = this.#handling
    const left = new Set(deliveries)
    const lostBefore = new Set(deliveries.filter(({ signal }) => signal.aborted))
    const settle = (delivery: TransportDelivery, end: HandlingEnd): void => {
      if (!left.delete(delivery)) return
      this.#events.onEnded(delivery, lostBefore.has(delivery) ? 'returned' : this.#endOf(delivery, end))
      done(delivery)
    }
    let end: HandlingEnd = 'returned'
    try {
      await this.#run.context(() => batch?.handle(deliveries, settle))
    } catch (error) {
      end = this.#unexpected(error)
    }
    this.#events.onTurnEnded()
    for (const delivery of left) settle(delivery, end)
  }

  #handle(one: Handling, delivery: TransportDelivery): HandlingEnd | Promise<HandlingEnd> {
    try {
      return this.#run.context(() => one.handle(delivery))
    } catch (error) {
      return this.#unexpected(error)
    }
  }

  #finished(delivery: TransportDelivery, end: HandlingEnd): undefined {
    this.#turns.look()
    return this.#ended(delivery, this.#endOf(delivery, end))
  }

  /** A message that was handled after its place was lost is not settled, and is redelivered. */
  #endOf({ signal, message }: TransportDelivery, end: HandlingEnd): HandlingEnd {
    const { withdrawn } = this
    if (!signal.aborted) {
      if (end !== 'returned') withdrawn.forget(message)
      return end
    }
    const isHandled = end === 'handled' || end === 'discarded'
    if (isHandled && this.#handling.one?.isBare === true) withdrawn.add(message, true)
    return isHandled && signal !== uncertainSignal() ? 'returned' : end
  }

  #ended(delivery: TransportDelivery, end: HandlingEnd): undefined {
    this.#events.onTurnEnded()
    this.#events.onEnded(delivery, end)
  }

  #unexpected(error: unknown): 'halted' {
    this.#logger.error({ err: error, binding: this.#binding }, 'handling failed outside the handler')
    return 'halted'
  }
}
