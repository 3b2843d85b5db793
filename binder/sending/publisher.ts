import { lastingContext } from '../../core/async-contexts.ts'
import type { Clock } from '../../core/clock.ts'
import type { SpanOptions } from '../../core/telemetry-interface.ts'
import type { EncodedMessage } from '../channel/message.ts'
import { notTakenInTime, SendError, TransportError } from '../errors.ts'
import type { BinderTelemetry } from '../telemetry/telemetry.ts'
import { asTransportError, PublishBatches } from '../transport/publish-batches.ts'
import type { PublishOutcome, Transport, TransportHealth } from '../transport/transport.ts'
import type { ProvisionedDestinations } from './destination-provisioning.ts'
import { DestinationWait } from './destination-wait.ts'
import { SendWindows, type Windowed } from './send-windows.ts'

export interface PublisherParts {
  readonly transport: Transport
  readonly destinations: ProvisionedDestinations
  readonly clock: Clock
  /** Maximum number of unconfirmed messages. */
  readonly maxInFlight: number
  /** Time limit of a send, including the creation of its destination and its place in the queue. */
  readonly timeoutMs: number
  readonly telemetry: BinderTelemetry | undefined
}

/** Sends all messages of a binder, on any transport. Beyond the limits of `SendWindows` callers wait (backpressure). */
export class Publisher {
  readonly #transport: Transport
  readonly #batches: PublishBatches<Entry>
  readonly #destinations: ProvisionedDestinations
  readonly #clock: Clock
  readonly #timeoutMs: number
  readonly #telemetry: BinderTelemetry | undefined
  readonly #destinationWait: DestinationWait<Entry>
  readonly #windows: SendWindows<Entry>
  readonly #idleWaiters: Array<() => void> = []
  /** A batch contains messages of several senders, so it is sent outside of their locks and transactions. */
  readonly #detached: <T>(work: () => T) => T = lastingContext()
  #scheduled = false

  constructor({ transport, destinations, clock, maxInFlight, timeoutMs, telemetry }: PublisherParts) {
    this.#transport = transport
    this.#batches = new PublishBatches<Entry>(transport, clock, {
      timeoutMs,
      settle: (entry, outcome) => this.#settle(entry, outcome),
      onMoved: () => this.#wakeIdle(),
      onSlow: (entry) => this.#windows.moved(entry),
      onChange: () => this.#sortBlocked(),
    })
    this.#windows = new SendWindows(
      maxInFlight,
      (destination) => this.#batches.isSlow(destination) || this.#destinationWait.isHeld(destination),
    )
    this.#destinations = destinations
    this.#clock = clock
    this.#timeoutMs = timeoutMs
    this.#telemetry = telemetry
    this.#destinationWait = new DestinationWait(destinations, clock, transport.waitsForRoom === true, {
      onReady: (entry) => {
        if (destinations.isTransactional(entry.message.destination))
          this.#settle(entry, transactionalOnly(transport.name, entry.message))
        else {
          this.#windows.moved(entry)
          this.#batches.push(entry)
        }
      },
      onFailed: (entry, error) => this.#settle(entry, asTransportError(transport.name, error)),
      onLate: (entry) => this.#settle(entry, notTakenInTime(transport.name, entry.message)),
      onHeld: () => this.#windows.sort(),
      onMoved: () => {
        this.#sortBlocked()
        this.#batches.pump()
        this.#wakeIdle()
      },
    })
  }

  get confirmsSingly(): boolean {
    return this.#transport.confirmsSingly === true
  }

  /** Health of the transport; also `down` while the broker confirms nothing. */
  health(): TransportHealth {
    return this.#batches.health()
  }

  /** Resolves when the broker has confirmed. @throws SendError */
  async send(message: EncodedMessage): Promise<void> {
    const outcome =
      this.#telemetry === undefined
        ? await new Promise<PublishOutcome>((resolve) => this.#enqueue(message, false, resolve))
        : (await this.publish([message]))[0]
    if (outcome !== undefined) throw new SendError(message.destination, message.id, outcome)
  }

  /**
   * Publishes messages. Returns one outcome per message, in order; never rejects.
   * @param parent parent of the span around it, if there is telemetry
   */
  publish(
    messages: readonly EncodedMessage[],
    parent: SpanOptions['parent'] = 'active',
  ): Promise<readonly PublishOutcome[]> {
    return this.#publish(messages, parent, false)
  }

  /**
   * Same for the results of handling: outputs, dead letters, copies for the next attempt. They do not wait for the window: if it
   * were full of messages that wait for this very handling, nothing would ever continue.
   */
  publishResult(
    messages: readonly EncodedMessage[],
    parent?: SpanOptions['parent'],
  ): Promise<readonly PublishOutcome[]> {
    return this.#publish(messages, parent ?? 'active', true)
  }

  /** Resolves when every message has an outcome. */
  idle(): Promise<void> {
    if (this.#windows.isEmpty) return Promise.resolve()
    return new Promise((resolve) => this.#idleWaiters.push(resolve))
  }

  #publish(
    messages: readonly EncodedMessage[],
    parent: SpanOptions['parent'],
    isResult: boolean,
  ): Promise<readonly PublishOutcome[]> {
    if (this.#telemetry === undefined) return this.#enqueueAll(messages, isResult)
    return this.#telemetry.send(messages, parent, (traced) => this.#enqueueAll(traced, isResult))
  }

  /** Uses one promise for all of them. */
  #enqueueAll(messages: readonly EncodedMessage[], isResult: boolean): Promise<readonly PublishOutcome[]> {
    return new Promise((resolve) => {
      const outcomes: PublishOutcome[] = messages.map(() => undefined)
      let open = messages.length
      if (open === 0) resolve(outcomes)
      for (const [i, message] of messages.entries())
        this.#enqueue(message, isResult, (outcome) => {
          outcomes[i] = outcome
          open--
          if (open === 0) resolve(outcomes)
        })
    })
  }

  #enqueue(message: EncodedMessage, isResult: boolean, resolve: (outcome: PublishOutcome) => void): void {
    const refusal = this.#refusal(message)
    if (refusal !== undefined) {
      resolve(refusal)
      return
    }
    const entry: Entry = { message, resolve, deadline: 0, countedIn: undefined }
    if (isResult) this.#windows.force(entry)
    else if (!this.#windows.enter(entry)) return
    this.#admit(entry)
  }

  #refusal(message: EncodedMessage): TransportError | undefined {
    if (this.#destinations.isTransactional(message.destination)) return transactionalOnly(this.#transport.name, message)
    return this.#transport.refuses?.(message)
  }

  /** Starts the time limit of an admitted message. */
  #admit(entry: Entry): void {
    entry.deadline = this.#clock.monotonic() + this.#timeoutMs
    if (this.#destinationWait.holds(entry)) this.#windows.moved(entry)
    else this.#batches.push(entry)
    if (this.#scheduled) return
    this.#scheduled = true
    queueMicrotask(() => {
      this.#scheduled = false
      this.#detached(() => this.#destinationWait.begin())
      this.#batches.pump()
    })
  }

  #admitBlocked(): void {
    for (let next = this.#windows.next(); next !== undefined; next = this.#windows.next()) this.#admit(next)
  }

  /** Called when a destination stops answering, or answers again. */
  #sortBlocked(): void {
    this.#windows.sort()
    this.#admitBlocked()
  }

  #wakeIdle(): void {
    if (this.#windows.isEmpty) for (const resolve of this.#idleWaiters.splice(0)) resolve()
  }

  #settle(entry: Entry, outcome: PublishOutcome): void {
    this.#windows.leave(entry)
    if (outcome?.kind === 'unroutable') this.#destinations.forget(entry.message.destination)
    entry.resolve(outcome)
    if (this.#telemetry !== undefined) {
      const sinceMs = this.#clock.monotonic() - (entry.deadline - this.#timeoutMs)
      this.#telemetry.wasSent(entry.message, outcome, sinceMs)
    }
    this.#admitBlocked()
  }
}

interface Entry extends Windowed {
  readonly resolve: (outcome: PublishOutcome) => void
  /** Monotonic time, counted from when the message was admitted. */
  deadline: number
}

/** Repeated after a lost answer, the message would be stored twice. */
function transactionalOnly(transport: string, { id, destination }: EncodedMessage): TransportError {
  return new TransportError({
    transport,
    kind: 'mismatch',
    destination,
    message:
      `message ${id} to "${destination}", a channel with transactional: true, was not sent in a transaction: use tx.send of ` +
      'service.transaction, outbox.add(tx, ...), or a processor with once: true',
  })
}
