import { SECOND } from '../../core/clock.ts'
import { DEAD_LETTER_GROUP } from '../consuming/failure/dead-letter-message.ts'
import type { DestinationSpec, GroupPlace, Transport, TransportDelivery } from '../transport/transport.ts'

/** A look for which nothing new comes for so long counts again, and asks for a mark. */
const PATIENCE_MS = 2 * SECOND
/** The same before its first letter: another look or run may have the place. */
const TURN_MS = 15 * SECOND

/**
 * Where a dry run ends. It puts no mark of its own behind the letters as long as the broker's count says how many there are: what a look
 * leaves behind would be counted as a letter. It needs one where the count leaves out what others hold (RabbitMQ, which forgets a mark
 * that is settled), and when fewer come than were counted, since another run settled some or Kafka counts more than messages.
 */
export class DryRunEnd {
  readonly #transport: Pick<Transport, 'lag' | 'features'>
  readonly #place: GroupPlace
  #expected = Number.POSITIVE_INFINITY
  #seen = 0
  #isMarked = false
  readonly #loans = new WeakSet<AbortSignal>()

  /** @param transport on which the letters are */
  constructor(transport: Pick<Transport, 'lag' | 'features'>, { name, partitions }: DestinationSpec) {
    this.#transport = transport
    this.#place = { destination: name, partitions, group: DEAD_LETTER_GROUP }
  }

  /** Before the first letter, and again when the subscription was lost. @throws TransportError */
  async begin(): Promise<void> {
    this.#seen = 0
    await this.#count()
  }

  /** Counts again, where that says something: others may have settled letters meanwhile. @throws TransportError */
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

  /** @param onGone called when letters of this loan were taken away: they come again, also those that were looked at */
  lends({ signal }: TransportDelivery, onGone: () => void): void {
    if (this.#loans.has(signal)) return
    this.#loans.add(signal)
    signal.addEventListener('abort', onGone, { once: true })
  }

  sees(): void {
    this.#seen++
  }

  /** Whether the look has seen every letter that was counted. */
  hasReached(): boolean {
    return this.#isWhole && this.#seen >= this.#expected
  }

  /** How long to wait for the next letter before `marked`. `undefined`: as long as it takes. */
  get patienceMs(): number | undefined {
    if (this.#isMarked) return undefined
    if (this.#seen >= this.#expected) return 0
    return this.#seen === 0 ? TURN_MS : PATIENCE_MS
  }

  /** There is a mark behind the letters now: it comes at last. */
  marked(): void {
    this.#isMarked = true
  }
}
