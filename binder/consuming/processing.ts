import type { Logger } from '../../core/logger.ts'
import type { Turns } from '../../core/turns.ts'
import { uncertainSignal } from '../transport/kit/last-heard.ts'
import type { TransportDelivery } from '../transport/transport.ts'
import type { Calls } from './calls.ts'
import type { HandlingEnd } from './failure/failures.ts'
import type { TakenAway } from './failure/taken-away.ts'
import type { Handling } from './handling.ts'
import type { Handlings } from './handlings.ts'
import type { Run } from './run.ts'

/** Around it: what is told of each delivery that was taken on does not throw. */
export interface ProcessingHost {
  readonly binding: string
  readonly logger: Logger
  /** A turn is over, before what it settled is. */
  onTurnEnded(): void
  onEnded(delivery: TransportDelivery, end: HandlingEnd): void
  readonly turns: Turns
  readonly takenAway: TakenAway
  readonly calls: Calls
}

/** Takes deliveries through the handling of the present run. Neither throws nor rejects, whatever handling does. */
export class Processing {
  readonly #host: ProcessingHost
  #run: Run
  #handlings: Handlings

  constructor(run: Run, handlings: Handlings, host: ProcessingHost) {
    this.#run = run
    this.#handlings = handlings
    this.#host = host
  }

  /** Outlasts runs. */
  get takenAway(): TakenAway {
    return this.#host.takenAway
  }

  /** Outlasts runs, too: a call of an older one may still be under way. */
  get calls(): Calls {
    return this.#host.calls
  }

  /** Later messages belong to this run. */
  begin(run: Run, handlings: Handlings): void {
    this.#run = run
    this.#handlings = handlings
  }

  /** A promise only where there is something to wait for: most of what a message costs here is promises. */
  one(delivery: TransportDelivery): Promise<void> | undefined {
    const { one } = this.#handlings
    if (one === undefined || delivery.signal.aborted) return this.#ended(delivery, 'returned')
    const end = this.#handle(one, delivery)
    if (typeof end === 'string') return this.#finished(delivery, end)
    return end.then(
      (late) => this.#finished(delivery, late),
      (error: unknown) => this.#finished(delivery, this.#unexpected(error)),
    )
  }

  /** @param done called for each of them as soon as it is settled */
  async batch(deliveries: readonly TransportDelivery[], done: (delivery: TransportDelivery) => void): Promise<void> {
    const { batch } = this.#handlings
    const left = new Set(deliveries)
    const lostBefore = new Set(deliveries.filter(({ signal }) => signal.aborted))
    const settle = (delivery: TransportDelivery, end: HandlingEnd): void => {
      if (!left.delete(delivery)) return
      this.#host.onEnded(delivery, lostBefore.has(delivery) ? 'returned' : this.#endOf(delivery, end))
      done(delivery)
    }
    let end: HandlingEnd = 'returned'
    try {
      await this.#run.context(() => batch?.handle(deliveries, settle))
    } catch (error) {
      end = this.#unexpected(error)
    }
    this.#host.onTurnEnded()
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
    this.#host.turns.look()
    return this.#ended(delivery, this.#endOf(delivery, end))
  }

  /** A message that was handled after its place was lost is not settled, and is delivered again. */
  #endOf({ signal, message }: TransportDelivery, end: HandlingEnd): HandlingEnd {
    const { takenAway } = this.#host
    if (!signal.aborted) {
      if (end !== 'returned') takenAway.forget(message)
      return end
    }
    const isHandled = end === 'handled' || end === 'discarded'
    if (isHandled && this.#handlings.one?.isBare === true) takenAway.add(message, true)
    return isHandled && signal !== uncertainSignal() ? 'returned' : end
  }

  #ended(delivery: TransportDelivery, end: HandlingEnd): undefined {
    this.#host.onTurnEnded()
    this.#host.onEnded(delivery, end)
  }

  #unexpected(error: unknown): 'halted' {
    const { logger, binding } = this.#host
    logger.error({ err: error, binding }, 'handling failed outside the handler')
    return 'halted'
  }
}
