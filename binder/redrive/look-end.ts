import { SECOND } from '../../core/clock.ts'
import { DEAD_LETTER_GROUP } from '../consuming/failure/dead-letter.ts'
import type { DestinationSpec, GroupPlace, Transport } from '../transport/transport.ts'

/** A look for which nothing new comes for so long asks for a mark. */
const PATIENCE_MS = 2 * SECOND

/**
 * Where a dry run ends. It puts no mark of its own behind the letters as long as the broker's count says how many there are: what a look
 * leaves behind would be counted as a letter. It needs one where the count leaves out what others hold (RabbitMQ, which forgets a mark
 * that is settled), and when fewer come than were counted, since another run settled some or Kafka counts more than messages.
 */
export class LookEnd {
  readonly #transport: Pick<Transport, 'lag' | 'features'>
  readonly #place: GroupPlace
  #expected = Number.POSITIVE_INFINITY
  #seen = 0
  #isMarked = false

  /** @param transport on which the letters are */
  constructor(transport: Pick<Transport, 'lag' | 'features'>, { name, partitions }: DestinationSpec) {
    this.#transport = transport
    this.#place = { destination: name, partitions, group: DEAD_LETTER_GROUP }
  }

  /** Before the first letter, and again when the subscription was lost. @throws TransportError */
  async begin(): Promise<void> {
    this.#seen = 0
    this.#expected = (await this.#transport.lag?.(this.#place)) ?? Number.POSITIVE_INFINITY
  }

  sees(): void {
    this.#seen++
  }

  /** It has seen everything that there was. */
  hasReached(): boolean {
    return this.#seen >= this.#expected && this.#transport.features.tellsWholeLag === true
  }

  /** How long to wait for the next letter before `marked`. `undefined`: as long as it takes. */
  get patienceMs(): number | undefined {
    if (this.#isMarked) return undefined
    return this.#seen >= this.#expected ? 0 : PATIENCE_MS
  }

  /** There is a mark behind the letters now: it comes at last. */
  marked(): void {
    this.#isMarked = true
  }
}
