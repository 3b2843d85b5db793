import { MINUTE, SECOND } from '../../../core/clock.ts'
import { isRetryable, toError } from '../../../core/errors.ts'
import type { Stall } from '../../transport/transport.ts'
import type { ConsumerHost } from '../run-handling.ts'
import { retrySpec } from './retry-destination.ts'

/** Interval at which a group without its retry channel looks for it. */
const LOOK_MS = MINUTE
/** Same where a redrive sends to the group by default; a check reads one row there. */
const LOOK_OFTEN_MS = 5 * SECOND

/** Subscription that may have to read the retry channel, too. */
export interface RetryReader {
  isOver(): boolean
  addRetries(): Promise<void>
  /** Reports that the retries cannot be read, or looked for; `undefined`: they can. The channel itself continues. */
  retriesStalled(stall: Stall | undefined): void
}

/**
 * Checks whether there are retries of a group for a binding that does not delay its own. A failure stops neither the binding nor
 * its start: the check is repeated, and the binding's health shows a lasting failure.
 */
export class LeftoverRetriesCheck {
  readonly #channel: string
  readonly #binding: string
  readonly #host: Pick<ConsumerHost, 'clock' | 'logger' | 'transport' | 'destinations'>
  #cancel: () => void = () => {}
  /** Failure of the last check. */
  #stall: Stall | undefined

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
   * Tells whether messages of the group may still wait for their next attempt, from a release with `retry: 'delayed'` or a
   * redrive: they were accepted, and no other binding reads them. Never rejects.
   */
  areThere(group: string): Promise<boolean> {
    return this.#tried(() => this.#find(group))
  }

  async #find(group: string): Promise<boolean> {
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

  /**
   * Repeats the check, because another release with `retry: 'delayed'`, or a redrive, may create the retry channel at any time.
   */
  lookLater(group: string, reader: RetryReader): void {
    const { clock, transport } = this.#host
    if (transport.hasPlace === undefined) return
    reader.retriesStalled(this.#stall)
    const owner = transport.ownerOf?.(this.#channel) ?? transport
    const everyMs = owner.settlingIn === undefined ? LOOK_MS : LOOK_OFTEN_MS
    this.#cancel = clock.setTimer(everyMs, () => void this.#look(group, reader))
  }

  /** Reads the retry channel, too, once it exists. Never rejects. */
  async #look(group: string, reader: RetryReader): Promise<void> {
    const isRead = await this.#tried(async () => {
      if (!(await this.#find(group)) || reader.isOver()) return false
      await reader.addRetries()
      return true
    })
    if (reader.isOver()) return
    if (isRead) reader.retriesStalled(undefined)
    else this.lookLater(group, reader)
  }

  /** @returns false after a failure */
  async #tried(work: () => Promise<boolean>): Promise<boolean> {
    try {
      const done = await work()
      this.#stall = undefined
      return done
    } catch (error) {
      this.#stall = { reason: toError(error), isPassing: this.#stall === undefined && isRetryable(error) }
      return false
    }
  }
}
