import type { Clock } from '../../core/clock.ts'
import type { Logger } from '../../core/logger.ts'
import type { Stall } from '../transport/transport.ts'
import { StalledWrites } from './stalled-writes.ts'

/** Reasons why a running binding makes no progress, reported by its subscription or by blocked writes. */
export class StallReasons {
  readonly stalledWrites: StalledWrites
  readonly #binding: string
  readonly #logger: Logger
  #ofSubscription: Stall | undefined
  #ofWriting: Stall | undefined

  constructor(binding: string, { clock, logger }: { readonly clock: Clock; readonly logger: Logger }) {
    this.stalledWrites = new StalledWrites(clock, (refusal) => this.#refused(refusal))
    this.#binding = binding
    this.#logger = logger
  }

  /** The reason that an operator has to remove, else a temporary one, else `undefined`. */
  get worst(): Stall | undefined {
    return this.#ofSubscription?.isPassing === false ? this.#ofSubscription : (this.#ofWriting ?? this.#ofSubscription)
  }

  subscriptionSays(stall: Stall | undefined): void {
    const isNews = stall?.reason.message !== this.#ofSubscription?.reason.message
    this.#ofSubscription = stall
    if (isNews) this.#log(stall)
  }

  /** Forgets the reasons of the ended subscription. */
  subscriptionEnded(): void {
    this.#ofSubscription = undefined
  }

  #refused(refusal: Stall | undefined): void {
    const isNews = (refusal === undefined) !== (this.#ofWriting === undefined)
    this.#ofWriting = refusal
    if (isNews) this.#log(refusal)
  }

  #log(stall: Stall | undefined): void {
    const binding = this.#binding
    if (stall === undefined) this.#logger.info({ binding }, 'all of the binding goes on')
    else this.#logger.warn({ err: stall.reason, binding }, 'part of the binding stands still')
  }
}
