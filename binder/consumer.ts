import { AsyncLocalStorage } from 'node:async_hooks'
import { backoffDelayMs } from '../core/backoff.ts'
import { type Clock, SECOND } from '../core/clock.ts'
import { isRetryable, toError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import { finishesWithin } from '../core/time-limit.ts'
import type { AmbientHeaders } from './ambient-headers.ts'
import type { ProcessorBinding, SinkBinding } from './binding.ts'
import { deadLetterSpec } from './dead-letter.ts'
import type { Destinations } from './destinations.ts'
import { Handling, type HandlingEnd } from './handling.ts'
import { Lanes } from './lanes.ts'
import { RECONNECT_BACKOFF, type ResolvedConsumer } from './options.ts'
import type { Publisher } from './publisher.ts'
import type { BindingState, BindingStatus } from './status.ts'
import type { DestinationSpec, Subscription, Transport, TransportDelivery } from './transport.ts'

/** A database that is frozen is one that is down. */
const READY_MS = 5 * SECOND

export interface ConsumerHost {
  readonly service: string
  readonly clock: Clock
  readonly logger: Logger
  readonly transport: Transport
  readonly publisher: Publisher
  readonly destinations: Destinations
  readonly drainTimeoutMs: number
  readonly ambient: AmbientHeaders | undefined
}

/**
 * One sink or processor at work.
 *
 *   idle -> connecting -> running <-> paused
 *              ^             |-> halted (a message failed for good and the binding asked to stop)
 *              |-- lost -----|-> stopping -> stopped
 *
 * A subscription that breaks is made again for ever, with backoff. What this process held is dropped then: the broker
 * hands it out again; keys that are still running here make their next delivery wait.
 */
export class Consumer {
  readonly options: ResolvedConsumer
  readonly #binding: SinkBinding | ProcessorBinding
  readonly #host: ConsumerHost
  readonly #lanes: Lanes<TransportDelivery>
  readonly #watched: WeakSet<AbortSignal> = new WeakSet()
  readonly #counts: Record<HandlingEnd, number> = { handled: 0, 'dead-lettered': 0, dropped: 0, returned: 0, halted: 0 }
  #state: BindingState = 'idle'
  /** Asked for by the user; survives a reconnect. */
  #paused = false
  #error: Error | undefined
  #subscribed = 0
  #subscription: Subscription | undefined
  /** The end of a halt: what ran has finished and the place in the group is given back. */
  #halting: Promise<void> = Promise.resolve()
  /** Replaced at each start: what belongs to an older one is stale. */
  #run: Run = new Run()
  #handling: Handling

  constructor(binding: SinkBinding | ProcessorBinding, options: ResolvedConsumer, host: ConsumerHost) {
    this.#binding = binding
    this.options = options
    this.#host = host
    if (!options.autoStart) this.#state = 'stopped'
    this.#handling = this.#newHandling()
    this.#lanes = new Lanes(
      options.concurrency,
      (delivery) => delivery.message.key,
      (delivery) => this.#process(delivery),
    )
  }

  get autoStart(): boolean {
    return this.options.autoStart
  }

  status(): BindingStatus {
    return {
      name: this.options.name,
      kind: this.#binding.kind,
      channel: this.#binding.input.name,
      group: this.options.group,
      state: this.#state,
      error: this.#error?.message,
      subscribed: this.#subscribed,
      running: this.#lanes.running,
      queued: this.#lanes.queued,
      handled: this.#counts.handled,
      deadLettered: this.#counts['dead-lettered'],
      dropped: this.#counts.dropped,
    }
  }

  /** Resolves after the first attempt: running, or connecting in the background. @throws what no retry will mend */
  async start(): Promise<void> {
    await this.#halting
    if (this.#state !== 'idle' && this.#state !== 'stopped' && this.#state !== 'halted') return
    this.#run = new Run()
    this.#handling = this.#newHandling()
    this.#paused = false
    this.#lanes.release()
    this.#error = undefined
    this.#state = 'connecting'
    try {
      await this.#subscribe(this.#run)
    } catch (error) {
      if (!isRetryable(error)) {
        this.#state = 'stopped'
        throw error
      }
      this.#noteFailure(error)
      void this.#reconnect(this.#run)
    }
  }

  /** Hands nothing more to the handler; keeps the place in the group and what is prefetched. */
  pause(): void {
    if (this.#run.over) return
    this.#paused = true
    this.#lanes.hold()
    this.#subscription?.pause()
    if (this.#state === 'running') this.#state = 'paused'
  }

  resume(): void {
    if (this.#run.over) return
    this.#paused = false
    this.#lanes.release()
    this.#subscription?.resume()
    if (this.#state === 'paused') this.#state = 'running'
  }

  /** Finishes what runs, within the drain time, gives back the rest and leaves the group. Idempotent; never rejects. */
  async stop(): Promise<void> {
    if (this.#state === 'idle') this.#state = 'stopped'
    if (this.#state === 'stopped' || this.#state === 'stopping') return
    const { run } = this.#end('stopping')
    await this.#halting
    await this.#drain(run)
    await this.#closeSubscription()
    this.#state = 'stopped'
  }

  #newHandling(): Handling {
    const { service, clock, logger, publisher, ambient } = this.#host
    return new Handling(this.#binding, this.options, {
      service,
      clock,
      logger,
      ambient,
      stopping: this.#run.stopping.signal,
      drain: this.#run.drain.signal,
      publish: (messages) => publisher.publish(messages),
    })
  }

  #end(state: BindingState): { run: Run } {
    const run = this.#run
    run.over = true
    run.stopping.abort(new Error('the binding stops'))
    this.#state = state
    this.#lanes.hold()
    this.#subscription?.pause()
    this.#giveBack()
    return { run }
  }

  #giveBack(): void {
    for (const delivery of this.#lanes.remove(() => true)) delivery.release()
  }

  async #drain(run: Run): Promise<void> {
    const { clock, drainTimeoutMs } = this.#host
    const drained = await finishesWithin(clock, drainTimeoutMs, this.#lanes.idle())
    if (!drained) run.drain.abort(new Error('the drain ran out of time'))
  }

  async #subscribe(run: Run): Promise<void> {
    const { transport, destinations } = this.#host
    await this.#requireReady()
    await destinations.provision(this.#specs())
    const { name, partitions } = destinations.spec(this.#binding.input.name)
    const { group, prefetch, prefetchBytes } = this.options
    let isLost: Error | undefined
    let isOpen = false
    const subscription = await transport.subscribe(
      { destination: name, partitions, group, prefetch, prefetchBytes },
      {
        deliver: (delivery) => (run.over ? delivery.release() : this.#accept(delivery)),
        recall: () => this.#giveBack(),
        lost: (error) => {
          if (isLost !== undefined) return
          isLost = error
          if (isOpen) this.#lost(run, error)
        },
      },
    )
    if (run.over || isLost !== undefined) {
      await subscription.close()
      if (run.over) return
      throw isLost ?? new Error('the subscription ended as it began')
    }
    isOpen = true
    this.#subscribed++
    this.#subscription = subscription
    this.#error = undefined
    if (this.#paused) subscription.pause()
    this.#state = this.#paused ? 'paused' : 'running'
    this.#host.logger.info({ binding: this.options.name }, 'binding is running')
  }

  /** Before the first message comes, which would fail for want of tables, and all after it. */
  async #requireReady(): Promise<void> {
    const binding = this.#binding
    const answers = [binding.options.inbox?.ready?.(), binding.kind === 'sink' ? binding.ready?.() : undefined]
    const asked = answers.filter((answer) => answer !== undefined)
    if (asked.length === 0 || (await finishesWithin(this.#host.clock, READY_MS, Promise.all(asked)))) return
    throw new Error(`the database did not say within ${READY_MS} ms that its tables are there`)
  }

  #specs(): DestinationSpec[] {
    const { destinations } = this.#host
    const input = destinations.spec(this.#binding.input.name)
    const { group, onFailure } = this.options
    const specs = [input]
    if (group !== null && onFailure === 'dead-letter') specs.push(deadLetterSpec(input.name, group))
    return specs
  }

  #lost(run: Run, error: Error): void {
    if (run.over) return
    this.#noteFailure(error)
    this.#state = 'connecting'
    void this.#closeSubscription().then(() => this.#reconnect(run))
  }

  async #reconnect(run: Run): Promise<void> {
    for (let attempt = 1; !run.over; attempt++) {
      try {
        await this.#host.clock.sleep(backoffDelayMs(RECONNECT_BACKOFF, attempt, Math.random()), run.stopping.signal)
        await this.#subscribe(run)
        return
      } catch (error) {
        if (run.over) return
        this.#noteFailure(error)
        if (!isRetryable(error)) {
          this.#halt(toError(error))
          return
        }
      }
    }
  }

  #noteFailure(error: unknown): void {
    this.#error = toError(error)
    this.#host.logger.warn({ err: error, binding: this.options.name }, 'binding has no subscription, connecting')
  }

  #accept(delivery: TransportDelivery): void {
    if (!this.#watched.has(delivery.signal)) this.#watch(delivery.signal)
    this.#lanes.push(delivery)
  }

  /** When a loan is withdrawn, what has not started goes back at once and never runs here. */
  #watch(signal: AbortSignal): void {
    this.#watched.add(signal)
    signal.addEventListener('abort', () => {
      for (const delivery of this.#lanes.remove((queued) => queued.signal === signal)) delivery.release()
    })
  }

  async #process(delivery: TransportDelivery): Promise<void> {
    if (delivery.signal.aborted) {
      delivery.release()
      return
    }
    let end: HandlingEnd
    try {
      end = await this.#run.context(() => this.#handling.handle(delivery))
    } catch (error) {
      this.#host.logger.error({ err: error, binding: this.options.name }, 'handling failed outside the handler')
      end = 'halted'
    }
    this.#counts[end]++
    if (end === 'returned') delivery.release()
    else if (end === 'halted') {
      delivery.release()
      this.#halt(
        new Error(
          `message ${delivery.message.id} at ${delivery.position} failed for good; start() the binding to try it again`,
        ),
      )
    } else delivery.ack()
  }

  #halt(error: Error): void {
    if (this.#run.over) return
    const { run } = this.#end('halted')
    this.#error = error
    this.#host.logger.error({ err: error, binding: this.options.name }, 'binding halted')
    this.#halting = this.#drain(run).then(() => this.#closeSubscription())
  }

  async #closeSubscription(): Promise<void> {
    const subscription = this.#subscription
    this.#subscription = undefined
    await subscription?.close()
  }
}

/** One span from start to stop. */
class Run {
  over = false
  readonly stopping: AbortController = new AbortController()
  readonly drain: AbortController = new AbortController()
  /** Around whoever started it. A delivery may come in from anywhere: in memory from inside the sender's lock or saga. */
  readonly context: <T>(work: () => T) => T = AsyncLocalStorage.snapshot()
}
