import { backoffDelayMs } from '../../core/backoff.ts'
import { SECOND } from '../../core/clock.ts'
import { isRetryable, toError } from '../../core/errors.ts'
import { finishesWithin } from '../../core/time-limit.ts'
import type { BatchBinding, ConsumerBinding } from '../bindings/declarations.ts'
import { RECONNECT_BACKOFF, type ResolvedConsumer } from '../bindings/resolve-options.ts'
import type { DestinationSpec, Displacement, Receiver, Stall, TransportDelivery } from '../transport/transport.ts'
import { ChannelAndRetriesSubscription } from './channel-and-retries-subscription.ts'
import type { ConsumerRun } from './consumer-run.ts'
import { DEAD_LETTER_GROUP, deadLetterSpec } from './failure/dead-letter-message.ts'
import { LeftoverRetriesCheck } from './failure/leftover-retries-check.ts'
import { lagWithRetries, leavesOutHeld, retrySpec } from './failure/retry-destination.ts'
import { positionInboxOf } from './position-inbox.ts'
import type { ConsumerHost } from './run-handling.ts'

/** Time after which a frozen database counts as unavailable. */
const READY_MS = 5 * SECOND
/** Minimum life of a subscription after which the pauses start again; a shorter one proves nothing. */
const STEADY_MS = 30 * SECOND
/** Events of the keeper. None throws. */
export interface KeeperEvents {
  deliver(delivery: TransportDelivery): void
  recall(): void
  isHeld(): boolean
  /** The binding has joined the group, for the first time or again. */
  onTaken(): void
  /** The binding has lost its place, and is joining again. */
  onAway(error: Error): void
  /** Part of the subscription is blocked, and the rest continues; `undefined`: no longer. */
  onStalled(stall: Stall | undefined): void
  /** The group does not continue at its position. */
  onDisplaced(displacement: Displacement): void
  /** The binding has no place, and trying again will not help. */
  onRefused(error: Error): void
}

/**
 * Keeps one binding's place at the broker: creates the required objects, subscribes, and repeats this after a loss, forever, with
 * backoff. A pause is kept across a reconnect.
 */
export class SubscriptionKeeper {
  readonly #binding: ConsumerBinding | BatchBinding
  readonly #options: ResolvedConsumer
  readonly #host: ConsumerHost
  readonly #events: KeeperEvents
  #subscription: ChannelAndRetriesSubscription | undefined
  /**
   * True while `subscribe` is running. If the run ends during it, its deliveries are not released, because the transport would
   * deliver them again at once, repeatedly: closing the subscription returns them.
   */
  #isTaking = false
  /** Set while an ended run still receives messages; aborts when it stops receiving them. */
  #finishing: AbortSignal | undefined
  readonly #retries: LeftoverRetriesCheck
  #paused = false
  /** Number of consecutive tries to subscribe again. */
  #attempts = 0
  #takenAt = 0

  constructor(
    binding: ConsumerBinding | BatchBinding,
    options: ResolvedConsumer,
    host: ConsumerHost,
    events: KeeperEvents,
  ) {
    this.#binding = binding
    this.#options = options
    this.#host = host
    this.#events = events
    this.#retries = new LeftoverRetriesCheck(binding.input.name, options.name, host)
  }

  /** Resolves after the first attempt: subscribed, or subscribing in the background. @throws errors that no retry fixes */
  async take(run: ConsumerRun): Promise<void> {
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

  /** Creates the destination and its groups. @throws TransportError */
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

  /**
   * Returns the number of messages that the group has not settled; `undefined` without a group, or if the broker cannot tell.
   * Messages in the retry channel of a group that does not delay its retries count, because none of them waits for its time.
   * @throws TransportError
   */
  async lag(): Promise<number | undefined> {
    const { group, retry } = this.#options
    const { transport, destinations } = this.#host
    if (group === null) return undefined
    const { name, partitions } = destinations.spec(this.#binding.input.name)
    const place = { destination: name, partitions, group }
    return retry === 'delayed' ? transport.lag?.(place) : lagWithRetries(transport, place)
  }

  /**
   * Returns the number of dead letters on the broker; `undefined` if none are kept, or readers may hold some that the broker does
   * not count. @throws TransportError
   */
  async deadLetters(): Promise<number | undefined> {
    const { group, onFailure } = this.#options
    if (group === null || onFailure !== 'dead-letter') return undefined
    const { name, partitions } = deadLetterSpec(this.#binding.input.name, group)
    const { transport } = this.#host
    const place = { destination: name, partitions, group: DEAD_LETTER_GROUP }
    const letters = await transport.lag?.(place)
    return letters === undefined || (await leavesOutHeld(transport, place)) ? undefined : letters
  }

  /**
   * Called after the end of a run: handles the released messages below handled ones, until `over` aborts. Without it, the next
   * member would handle the later messages again. Never rejects.
   */
  async finishGaps(over: AbortSignal): Promise<void> {
    this.#finishing = over
    await this.#subscription?.finishGaps(over)
    this.#finishing = undefined
  }

  /** Leaves the group. Idempotent; never rejects. */
  async leave(): Promise<void> {
    const subscription = this.#subscription
    this.#subscription = undefined
    this.#retries.stop()
    await subscription?.close()
  }

  async #subscribe(run: ConsumerRun): Promise<void> {
    const { transport, destinations } = this.#host
    await this.#requireReady()
    await destinations.provision(this.#specs())
    const { name, partitions } = destinations.spec(this.#binding.input.name)
    const { group, retry, prefetch, prefetchBytes } = this.#options
    let isLost: Error | undefined
    let isOpen = false
    const settlesIn = positionInboxOf(this.#binding.options.inbox)?.settling
    const spec = { destination: name, partitions, group, prefetch, prefetchBytes, settlesIn }
    const receiver: Receiver = {
      // The following close gives back messages that were not released.
      deliver: (delivery) => {
        if (!run.over || this.#finishing?.aborted === false) this.#events.deliver(delivery)
        else if (isOpen && !this.#isTaking) delivery.release()
      },
      recall: () => this.#events.recall(),
      isHeld: () => this.#events.isHeld(),
      stalled: (stall) => {
        if (!run.over && isLost === undefined) this.#events.onStalled(stall)
      },
      displaced: (displacement) => this.#events.onDisplaced(displacement),
      lost: (error) => {
        if (isLost !== undefined) return
        isLost = error
        if (isOpen) this.#lost(run, error)
      },
    }
    const withRetries = group !== null && (retry === 'delayed' || (await this.#retries.areThere(group)))
    const subscription = await this.#taking(ChannelAndRetriesSubscription.open(transport, spec, receiver, withRetries))
    if (run.over || isLost !== undefined) {
      await subscription.close()
      if (run.over) return
      throw isLost ?? new Error('the subscription ended as it began')
    }
    isOpen = true
    this.#takenAt = this.#host.clock.monotonic()
    this.#subscription = subscription
    if (this.#paused) subscription.pause()
    if (group !== null && !withRetries)
      this.#retries.lookLater(group, {
        isOver: () => this.#subscription !== subscription,
        addRetries: () => this.#taking(subscription.addRetries()),
        retriesStalled: (stall) => subscription.retriesStalled(stall),
      })
    this.#events.onTaken()
  }

  async #taking<T>(taken: Promise<T>): Promise<T> {
    this.#isTaking = true
    try {
      return await taken
    } finally {
      this.#isTaking = false
    }
  }

  /** Checked before the first message, because it and all later ones would fail without tables. */
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
    if (group !== null && retry === 'delayed') specs.push({ ...retrySpec(input, group), delays: true })
    return specs
  }

  #lost(run: ConsumerRun, error: Error): void {
    if (run.over) return
    if (this.#host.clock.monotonic() - this.#takenAt >= STEADY_MS) this.#attempts = 0
    this.#events.onAway(error)
    void this.leave().then(() => this.#takeAgain(run))
  }

  async #takeAgain(run: ConsumerRun): Promise<void> {
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
