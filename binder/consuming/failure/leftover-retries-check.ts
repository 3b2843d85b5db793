import { MINUTE, SECOND } from '../../../core/clock.ts'
import type { ConsumerHost } from '../create-handling.ts'
import { retrySpec } from './retry-destination.ts'

/** How often a group that runs without its retry channel looks for it. */
const LOOK_MS = MINUTE
/** The same where a redrive sends to the group unless told otherwise; a look is one row there. */
const LOOK_OFTEN_MS = 5 * SECOND

/** Subscription that may have to read the retry channel as well. */
export interface RetryReader {
  isOver(): boolean
  addRetries(): Promise<void>
}

/** Looks whether there are retries of a group for a binding that does not delay its own. */
export class PendingRetryCheck {
  readonly #channel: string
  readonly #binding: string
  readonly #host: Pick<ConsumerHost, 'clock' | 'logger' | 'transport' | 'destinations'>
  #cancel: () => void = () => {}

  constructor(
    channel: string,
    binding: string,
    host: Pick<ConsumerHost, 'clock' | 'logger' | 'transport' | 'destinations'>,
  ) {
    this.#channel = channel
    this.#binding = binding
    this.#host = host
  }

  stop(): void {
    this.#cancel()
  }

  /**
   * Whether messages of the group may still wait for their next attempt, from a release with `retry: 'delayed'` or a redrive: they
   * are accepted, and no other binding reads them.
   */
  async areThere(group: string): Promise<boolean> {
    const { destinations, logger } = this.#host
    if (!(await this.#isRetryPlaceThere(group))) return false
    const spec = retrySpec(destinations.spec(this.#channel), group)
    await destinations.provision([spec])
    logger.debug(
      { binding: this.#binding, destination: spec.name },
      'the binding reads what waits there for its next attempt, although its own retries are not delayed',
    )
    return true
  }

  async #isRetryPlaceThere(group: string): Promise<boolean> {
    const { transport, destinations } = this.#host
    const { name, partitions } = retrySpec(destinations.spec(this.#channel), group)
    return (await transport.hasPlace?.({ destination: name, partitions, group })) === true
  }

  /** Another release with `retry: 'delayed'`, or a redrive, may make the retry channel at any time. */
  lookLater(group: string, reader: RetryReader): void {
    const { clock, transport } = this.#host
    if (transport.hasPlace === undefined) return
    const owner = transport.ownerOf?.(this.#channel) ?? transport
    const everyMs = owner.settlingIn === undefined ? LOOK_MS : LOOK_OFTEN_MS
    this.#cancel = clock.setTimer(everyMs, () => void this.#look(group, reader))
  }

  /** Reads the retry channel as well, once it is there. Never rejects. */
  async #look(group: string, reader: RetryReader): Promise<void> {
    try {
      const isThere = await this.areThere(group)
      if (isThere && !reader.isOver()) return await reader.addRetries()
    } catch (error) {
      if (reader.isOver()) return
      const fields = { err: error, binding: this.#binding }
      this.#host.logger.warn(fields, 'the binding cannot read the channel of its retries, it is tried again')
    }
    if (!reader.isOver()) this.lookLater(group, reader)
  }
}
