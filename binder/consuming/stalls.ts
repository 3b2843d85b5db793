import type { Clock } from '../../core/clock.ts'
import type { Logger } from '../../core/logger.ts'
import type { Hindrance } from '../transport/transport.ts'
import { Refusals } from './failure/refusals.ts'

/** Reasons why a running binding makes no progress: reported by its subscription, or writes that stand still. */
export class Hindrances {
  readonly refusals: Refusals
  readonly #binding: string
  readonly #logger: Logger
  #ofSubscription: Hindrance | undefined
  #ofWriting: Hindrance | undefined

  constructor(binding: string, { clock, logger }: { readonly clock: Clock; readonly logger: Logger }) {
    this.refusals = new Refusals(clock, (refusal) => this.#refused(refusal))
    this.#binding = binding
    this.#logger = logger
  }

  /** The reason that an operator has to remove, else the one that passes by itself, else `undefined`. */
  get worst(): Hindrance | undefined {
    return this.#ofSubscription?.isPassing === false ? this.#ofSubscription : (this.#ofWriting ?? this.#ofSubscription)
  }

  subscriptionSays(hindrance: Hindrance | undefined): void {
    const isNews = hindrance?.reason.message !== this.#ofSubscription?.reason.message
    this.#ofSubscription = hindrance
    if (isNews) this.#log(hindrance)
  }

  /** Forgets what the ended subscription reported. */
  subscriptionEnded(): void {
    this.#ofSubscription = undefined
  }

  #refused(refusal: Hindrance | undefined): void {
    const isNews = (refusal === undefined) !== (this.#ofWriting === undefined)
    this.#ofWriting = refusal
    if (isNews) this.#log(refusal)
  }

  #log(hindrance: Hindrance | undefined): void {
    const binding = this.#binding
    if (hindrance === undefined) this.#logger.info({ binding }, 'all of the binding goes on')
    else this.#logger.warn({ err: hindrance.reason, binding }, 'part of the binding stands still')
  }
}
