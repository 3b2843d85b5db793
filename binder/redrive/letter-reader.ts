import { turnsOf } from '../../core/event-loop-turns.ts'
import { Queue } from '../../core/queue.ts'
import { DEAD_LETTER_GROUP } from '../consuming/failure/dead-letter-message.ts'
import type { Receiver, Subscription, TransportDelivery } from '../transport/transport.ts'
import type { DryRunEnd } from './dry-run-end.ts'
import { LostSubscription, lost } from './lost-subscription.ts'
import type { RedrivePlaces } from './places.ts'
import type { ResolvedRedrive } from './redrive.ts'
import type { RunPatience } from './run-patience.ts'

const PREFETCH = 50
const PREFETCH_BYTES = 16 * 1024 * 1024

/** Subscribes a run to the dead letters, and queues the deliveries until the run takes them. */
export class LetterReader {
  readonly #options: ResolvedRedrive
  readonly #places: RedrivePlaces
  readonly #patience: RunPatience
  readonly #lookEnd: DryRunEnd | undefined
  readonly #waiting: Queue<TransportDelivery> = new Queue()
  #lost: Error | undefined
  #wake: () => void = () => {}
  /** False until the first subscription, which may take longer. */
  #hasBegun = false

  constructor(options: ResolvedRedrive, places: RedrivePlaces, patience: RunPatience, lookEnd: DryRunEnd | undefined) {
    this.#options = options
    this.#places = places
    this.#patience = patience
    this.#lookEnd = lookEnd
  }

  /** @throws LostSubscription */
  async subscribe(): Promise<Subscription> {
    const { transport, dryRun, lookAt, lookAtBytes } = this.#options
    const { settling, letters } = this.#places
    this.#lost = undefined
    const spec = {
      ...(settling !== undefined && { settlesIn: settling }),
      destination: letters.name,
      partitions: letters.partitions,
      group: DEAD_LETTER_GROUP,
      // A dry run settles nothing, so it holds everything that it reads, and headers count, too.
      prefetch: dryRun ? lookAt : PREFETCH,
      prefetchBytes: dryRun ? Math.max(2 * lookAtBytes, PREFETCH_BYTES) : PREFETCH_BYTES,
    }
    try {
      const subscription = await transport.subscribe(spec, this.#receiver())
      if (!this.#hasBegun) this.#patience.renew()
      this.#hasBegun = true
      return subscription
    } catch (error) {
      // Deliveries from before the failure belong to the broker again: settling them would have no effect.
      this.giveBack()
      return lost(error)
    }
  }

  #receiver(): Receiver {
    const receiver: Receiver = {
      deliver: (delivery) => {
        this.#lookEnd?.lends(delivery, () => receiver.lost(new Error('letters were withdrawn')))
        this.#waiting.push(delivery)
        this.#wake()
      },
      recall: () => this.giveBack(),
      lost: (error) => {
        this.#lost = error
        this.#wake()
      },
    }
    return receiver
  }

  /**
   * Returns the next letter; `undefined` when the caller ends the run; `'waited'` when none arrived within `patienceMs`.
   * @throws `binder.redrive_stalled`, LostSubscription
   */
  async next(patienceMs: number | undefined): Promise<TransportDelivery | 'waited' | undefined> {
    for (;;) {
      await turnsOf(this.#options.clock).give()
      if (this.#options.signal?.aborted) return undefined
      if (this.#lost !== undefined) throw new LostSubscription(this.#lost)
      const delivery = this.#waiting.shift()
      if (delivery !== undefined) {
        this.#patience.renew()
        return delivery
      }
      if (this.#patience.leftMs <= 0) throw this.#patience.stalled()
      if (!(await this.#somethingNew(patienceMs))) return 'waited'
    }
  }

  /** Waits for a letter for `limitMs`, even if the caller ends the run. */
  async last(limitMs: number): Promise<TransportDelivery | undefined> {
    if (this.#waiting.length === 0) await this.#somethingNew(limitMs)
    return this.#waiting.shift()
  }

  giveBack(): void {
    for (const delivery of this.#waiting.drain()) delivery.release()
  }

  /** @returns false when it has waited for `patienceMs` */
  async #somethingNew(patienceMs: number = Number.POSITIVE_INFINITY): Promise<boolean> {
    const { clock, signal } = this.#options
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const wake = (): void => resolve(true)
    this.#wake = wake
    signal?.addEventListener('abort', wake, { once: true })
    const { leftMs } = this.#patience
    const cancel = clock.setTimer(Math.min(leftMs, patienceMs), () => resolve(leftMs < patienceMs))
    const isNew = await promise
    cancel()
    signal?.removeEventListener('abort', wake)
    return isNew
  }
}
