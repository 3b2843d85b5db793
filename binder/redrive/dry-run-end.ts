import { SECOND } from '../../core/clock.ts'
import { DEAD_LETTER_GROUP } from '../consuming/failure/dead-letter-message.ts'
import type { DestinationSpec, GroupPlace, Transport, TransportDelivery } from '../transport/transport.ts'

/** Time without new letters after which a dry run counts again, or requests a mark. */
const PATIENCE_MS = 2 * SECOND
/** Same before its first letter, because another run may hold the place. */
const TURN_MS = 15 * SECOND

/**
 * Finds the end of a dry run. It appends no mark as long as the broker's count says how many letters there are, because the mark
 * would be counted as a letter. It needs one if the count omits letters that others hold (RabbitMQ, which forgets a settled
 * mark), and if fewer arrive than were counted, because another run settled some or Kafka counts more than messages.
 */
export class DryRunEnd {
  readonly #transport: Pick<Transport, 'lag' | 'features'>
  readonly #place: GroupPlace
  #expected = Number.POSITIVE_INFINITY
  #seen = 0
  #isMarked = false
  readonly #loans = new WeakSet<AbortSignal>()

  /** @param transport transport of the letters */
  constructor(transport: Pick<Transport, 'lag' | 'features'>, { name, partitions }: DestinationSpec) {
    this.#transport = transport
    this.#place = { destination: name, partitions, group: DEAD_LETTER_GROUP }
  }

  /** Called before the first letter, and again after the subscription was lost. @throws TransportError */
  async begin(): Promise<void> {
    this.#seen = 0
    await this.#count()
  }

  /** Counts again, if the count is reliable, because others may have settled letters. @throws TransportError */
  async recount(): Promise<boolean> {
    if (this.#isWhole) await this.#count()
    return this.hasReached()
  }

  async #count(): Promise<void> {
    this.#expected = (await this.#transport.lag?.(this.#place)) ?? Number.POSITIVE_INFINITY
  }

  get #isWhole(): boolean {
    return this.#transport.features.tellsWholeLag === true
  }

  /** @param onGone called when letters of this loan were withdrawn: they are redelivered, including those already read */
  lends({ signal }: TransportDelivery, onGone: () => void): void {
    if (this.#loans.has(signal)) return
    this.#loans.add(signal)
    signal.addEventListener('abort', onGone, { once: true })
  }

  sees(): void {
    this.#seen++
  }

  /** Tells whether the dry run has read every counted letter. */
  hasReached(): boolean {
    return this.#isWhole && this.#seen >= this.#expected
  }

  /** How long to wait for the next letter before `marked`. `undefined`: without limit. */
  get patienceMs(): number | undefined {
    if (this.#isMarked) return undefined
    if (this.#seen >= this.#expected) return 0
    return this.#seen === 0 ? TURN_MS : PATIENCE_MS
  }

  /** Records that there is a mark behind the letters, which will arrive last. */
  marked(): void {
    this.#isMarked = true
  }
}
