import { backoffDelayMs } from '../../core/backoff.ts'
import { type Clock, SECOND } from '../../core/clock.ts'
import { isRetryable, toError } from '../../core/errors.ts'
import type { Logger } from '../../core/logger.ts'
import { finishesWithin } from '../../core/time-limit.ts'
import type { BatchBinding, ConsumerBinding } from '../bindings/declarations.ts'
import { RECONNECT_BACKOFF, type ResolvedConsumer } from '../bindings/options.ts'
import type { Destinations } from '../sending/destinations.ts'
import type {
  DestinationSpec,
  Displacement,
  Hindrance,
  Receiver,
  Subscription,
  Transport,
  TransportDelivery,
} from '../transport/transport.ts'
import { DEAD_LETTER_GROUP, deadLetterSpec } from './failure/dead-letter.ts'
import { retrySpec, subscribeWithRetries } from './failure/retry.ts'
import { placeInboxOf } from './place-inbox.ts'
import type { Run } from './run.ts'

/** A database that is frozen is one that is down. */
const READY_MS = 5 * SECOND
/** A subscription that lived for less has not shown that things are well: the next pause goes on growing. */
const STEADY_MS = 30 * SECOND

export interface KeeperHost {
  readonly clock: Clock
  readonly logger: Logger
  readonly transport: Transport
  readonly destinations: Destinations
}

/** What the keeper tells. None throws. */
export interface KeeperEvents {
  deliver(delivery: TransportDelivery): void
  recall(): void
  /** The place was taken, for the first time or again. */
  onTaken(): void
  /** No place for now; it is being taken. */
  onAway(error: Error): void
  /** Some of it stands still, the rest goes on; `undefined`: no longer. */
  onHindered(hindrance: Hindrance | undefined): void
  /** The group does not go on where it stood. */
  onDisplaced(displacement: Displacement): void
  /** No place, and trying again will not help. */
  onRefused(error: Error): void
}

/**
 * Keeps one binding's place at the broker: makes what it needs exist, subscribes, and again after a loss, forever, with
 * backoff. Pausing outlasts a reconnect.
 */
export class Keeper {
  readonly #binding: ConsumerBinding | BatchBinding
  readonly #options: ResolvedConsumer
  readonly #host: KeeperHost
  readonly #events: KeeperEvents
  #subscription: Subscription | undefined
  #paused = false
  /** Subscribing again, in a row. */
  #attempts = 0
  #takenAt = 0

  constructor(
    binding: ConsumerBinding | BatchBinding,
    options: ResolvedConsumer,
    host: KeeperHost,
    events: KeeperEvents,
  ) {
    this.#binding = binding
    this.#options = options
    this.#host = host
    this.#events = events
  }

  /** Resolves after the first attempt: taken, or being taken in the background. @throws what no retry will mend */
  async take(run: Run): Promise<void> {
    this.#paused = false
    this.#attempts = 0
    try {
      await this.#subscribe(run)
    } catch (error) {
      if (!isRetryable(error)) throw error
      if (run.over) return
      this.#events.onAway(toError(error))
      void this.#takeAgain(run)
    }
  }

  /** Makes the destination and its groups exist. @throws TransportError */
  prepare(): Promise<void> {
    return this.#host.destinations.provision(this.#specs())
  }

  pause(): void {
    this.#paused = true
    this.#subscription?.pause()
  }

  resume(): void {
    this.#paused = false
    this.#subscription?.resume()
  }

  /** What the group has not settled; `undefined` when there is no group or the broker cannot tell. @throws TransportError */
  async lag(): Promise<number | undefined> {
    const { group } = this.#options
    const { transport, destinations } = this.#host
    if (group === null) return undefined
    const { name, partitions } = destinations.spec(this.#binding.input.name)
    return transport.lag?.({ destination: name, partitions, group })
  }

  /** Dead letters on the broker; `undefined` when none are kept. @throws TransportError */
  async deadLetters(): Promise<number | undefined> {
    const { group, onFailure } = this.#options
    if (group === null || onFailure !== 'dead-letter') return undefined
    const { name, partitions } = deadLetterSpec(this.#binding.input.name, group)
    return this.#host.transport.lag?.({ destination: name, partitions, group: DEAD_LETTER_GROUP })
  }

  /** Gives the place back. Idempotent; never rejects. */
  async leave(): Promise<void> {
    const subscription = this.#subscription
    this.#subscription = undefined
    await subscription?.close()
  }

  async #subscribe(run: Run): Promise<void> {
    const { transport, destinations } = this.#host
    await this.#requireReady()
    await destinations.provision(this.#specs())
    const { name, partitions } = destinations.spec(this.#binding.input.name)
    const { group, retry, prefetch, prefetchBytes } = this.#options
    let isLost: Error | undefined
    let isOpen = false
    const settlesIn = placeInboxOf(this.#binding.options.inbox)?.settling
    const spec = { destination: name, partitions, group, prefetch, prefetchBytes, settlesIn }
    const receiver: Receiver = {
      // Released while the place is being taken it would come again at once, without end: the close that follows gives it back.
      deliver: (delivery) => {
        if (!run.over) this.#events.deliver(delivery)
        else if (isOpen) delivery.release()
      },
      recall: () => this.#events.recall(),
      hindered: (hindrance) => {
        if (!run.over && isLost === undefined) this.#events.onHindered(hindrance)
      },
      displaced: (displacement) => this.#events.onDisplaced(displacement),
      lost: (error) => {
        if (isLost !== undefined) return
        isLost = error
        if (isOpen) this.#lost(run, error)
      },
    }
    const subscription = await (group !== null && (retry === 'delayed' || (await this.#hasRetries(group)))
      ? subscribeWithRetries(transport, spec, group, receiver)
      : transport.subscribe(spec, receiver))
    if (run.over || isLost !== undefined) {
      await subscription.close()
      if (run.over) return
      throw isLost ?? new Error('the subscription ended as it began')
    }
    isOpen = true
    this.#takenAt = this.#host.clock.monotonic()
    this.#subscription = subscription
    if (this.#paused) subscription.pause()
    this.#events.onTaken()
  }

  /**
   * Whether messages of the group may still wait for their next attempt, from a release with `retry: 'delayed'` or a redrive: they
   * are accepted, and no other binding reads them.
   */
  async #hasRetries(group: string): Promise<boolean> {
    const { transport, destinations, logger } = this.#host
    const spec = retrySpec(destinations.spec(this.#binding.input.name), group)
    const { name, partitions } = spec
    if ((await transport.hasPlace?.({ destination: name, partitions, group })) !== true) return false
    await destinations.provision([spec])
    logger.debug(
      { binding: this.#options.name, destination: name },
      'the binding reads what waits there for its next attempt, although its own retries are not delayed',
    )
    return true
  }

  /** Before the first message comes, which would fail for want of tables, and all after it. */
  async #requireReady(): Promise<void> {
    const binding = this.#binding
    const answers = [binding.options.inbox?.ready?.(), 'ready' in binding ? binding.ready?.() : undefined]
    const asked = answers.filter((answer) => answer !== undefined)
    if (asked.length === 0 || (await finishesWithin(this.#host.clock, READY_MS, Promise.all(asked)))) return
    throw new Error(`the database did not say within ${READY_MS} ms that its tables are there`)
  }

  #specs(): DestinationSpec[] {
    const input = this.#host.destinations.spec(this.#binding.input.name)
    const { group, onFailure, retry } = this.#options
    const specs = [input]
    if (group !== null && onFailure === 'dead-letter') specs.push(deadLetterSpec(input.name, group))
    if (group !== null && retry === 'delayed') specs.push(retrySpec(input, group))
    return specs
  }

  #lost(run: Run, error: Error): void {
    if (run.over) return
    if (this.#host.clock.monotonic() - this.#takenAt >= STEADY_MS) this.#attempts = 0
    this.#events.onAway(error)
    void this.leave().then(() => this.#takeAgain(run))
  }

  async #takeAgain(run: Run): Promise<void> {
    while (!run.over) {
      this.#attempts++
      try {
        const pauseMs = backoffDelayMs(RECONNECT_BACKOFF, this.#attempts, Math.random())
        await this.#host.clock.sleep(pauseMs, run.stopping.signal)
        await this.#subscribe(run)
        return
      } catch (error) {
        if (run.over) return
        this.#events.onAway(toError(error))
        if (!isRetryable(error)) {
          this.#events.onRefused(toError(error))
          return
        }
      }
    }
  }
}
