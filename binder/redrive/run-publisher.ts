import { SECOND } from '../../core/clock.ts'
import type { EncodedMessage } from '../channel/message.ts'
import { keptByRun } from '../consuming/failure/dead-letter-message.ts'
import { type ConfirmHost, outcomeOf, publishUntilConfirmed } from '../consuming/failure/publish-until-confirmed.ts'
import type { TransportDelivery } from '../transport/transport.ts'
import { moveAtomically } from './atomic-move.ts'
import { lookMark, runMark } from './marker-messages.ts'
import type { RedrivePlaces } from './places.ts'
import type { ResolvedRedrive } from './redrive.ts'
import type { RunPatience } from './run-patience.ts'

const PUBLISH_TIMEOUT_MS = 30 * SECOND

/** Publishes the messages of a run, each until the broker confirms it or the run has stalled. */
export class RunPublisher {
  readonly #options: ResolvedRedrive
  readonly #places: RedrivePlaces
  readonly #patience: RunPatience
  readonly #unanswered = new WeakSet<TransportDelivery>()

  constructor(options: ResolvedRedrive, places: RedrivePlaces, patience: RunPatience) {
    this.#options = options
    this.#places = places
    this.#patience = patience
  }

  /**
   * True if the delivery may have been settled, because the database did not answer the commit. If it was not, it is redelivered.
   */
  isUnanswered(delivery: TransportDelivery): boolean {
    return this.#unanswered.has(delivery)
  }

  /** Appends the mark of the run to the letters. */
  async mark(): Promise<void> {
    const { id, clock, dryRun } = this.#options
    const fields = { id, destination: this.#places.letters.name, time: clock.now() }
    await this.publish(dryRun ? lookMark(fields) : runMark(fields))
  }

  /** Appends a letter behind the mark, in place of its delivery. @throws the errors of `publish` */
  async keep(letter: EncodedMessage, delivery: TransportDelivery): Promise<void> {
    const destination = this.#places.letters.name
    await this.publish(keptByRun({ ...letter, destination }, this.#options.id), delivery)
  }

  /**
   * @param instead a delivery that is settled with it, if the broker does both in one transaction
   * @throws `binder.redrive_stalled` while the broker is unavailable for too long, SendError when it can never take the message
   */
  async publish(message: EncodedMessage, instead?: TransportDelivery): Promise<void> {
    const { clock, logger, transport, signal, stallTimeoutMs } = this.#options
    const { owner, target, letters } = this.#places
    const settling = instead && this.#places.settling
    const to = message.destination === target.name ? target : letters
    const publish: ConfirmHost['publish'] = async (messages) =>
      settling === undefined || instead === undefined
        ? transport.publish(messages, { deadline: clock.monotonic() + PUBLISH_TIMEOUT_MS })
        : [await outcomeOf(moveAtomically(owner, settling, instead, messages, to, () => this.#unanswered.add(instead)))]
    const stall = new AbortController()
    const cancel = clock.setTimer(stallTimeoutMs, () => stall.abort(this.#patience.stalled()))
    try {
      await publishUntilConfirmed({ clock, logger, publish }, [message], () =>
        AbortSignal.any([signal, stall.signal, settling && instead?.signal].filter((each) => each !== undefined)),
      )
    } finally {
      cancel()
    }
  }
}
