import { turnsOf } from '../../core/event-loop-turns.ts'
import { finishesWithin } from '../../core/time-limit.ts'
import type { BatchBinding, ConsumerBinding } from '../bindings/declarations.ts'
import type { ResolvedConsumer } from '../bindings/resolve-options.ts'
import type { BindingState, BindingStatus } from '../status.ts'
import type { ConsumerName } from '../telemetry/metrics.ts'
import type { Displacement, TransportDelivery } from '../transport/transport.ts'
import { BatchFormation, type RunBatch } from './batch/batch-formation.ts'
import { ConsumerRun } from './consumer-run.ts'
import { DeliveryDispatcher } from './delivery-dispatcher.ts'
import type { HandlingEnd } from './failure/failures.ts'
import { Lanes } from './lanes.ts'
import type { Line, LineAdmission } from './line-interface.ts'
import { Pace } from './pace/pace.ts'
import { type ConsumerHost, newRunHandling, type RunHandling } from './run-handling.ts'
import { StallReasons } from './stall-reasons.ts'
import { SubscriptionKeeper } from './subscription-keeper.ts'

/**
 * A running sink, processor or batch sink.
 *
 *   idle -> connecting -> running <-> paused
 *              ^             |-> halted (a message failed permanently and `onFailure` is 'halt')
 *              |-- lost -----|-> stopping -> stopped
 *
 * A broken subscription is made again forever, with backoff. Messages held by this process are then dropped: the broker
 * redelivers them. Keys that are still running here make their next delivery wait.
 */
export class Consumer {
  readonly options: ResolvedConsumer
  readonly #binding: ConsumerBinding | BatchBinding
  readonly #host: ConsumerHost
  readonly #keeper: SubscriptionKeeper
  readonly #lanes: Line<TransportDelivery>
  /** Rate limit and circuit breaker, if the binding has them. */
  readonly #pace: Pace | undefined
  readonly #watched: WeakSet<AbortSignal> = new WeakSet()
  readonly #counts: Record<HandlingEnd, number> = {
    handled: 0,
    'dead-lettered': 0,
    dropped: 0,
    retried: 0,
    returned: 0,
    halted: 0,
    discarded: 0,
  }
  #state: BindingState = 'idle'
  /** True if the user has paused it; kept across a reconnect. */
  #paused = false
  /** True if a pause was requested while a start waits for the previous stop. */
  #startsPaused = false
  #error: Error | undefined
  readonly #stalls: StallReasons
  #subscribed = 0
  readonly #displaced = { skipped: 0, repeated: 0 }
  /** End of a halt: running calls have finished and the place in the group was given back. */
  #halting: Promise<void> = Promise.resolve()
  /** Set while it stops. */
  #stopping: Promise<void> | undefined
  /** Number of requested stops. */
  #stops = 0
  /** Replaced at each start; events of an earlier run are ignored. */
  #run: ConsumerRun = new ConsumerRun()
  readonly #dispatcher: DeliveryDispatcher

  constructor(
    binding: ConsumerBinding | BatchBinding,
    options: ResolvedConsumer,
    host: ConsumerHost,
    gate?: LineAdmission,
  ) {
    this.#binding = binding
    this.options = options
    this.#host = host
    this.#stalls = new StallReasons(options.name, host)
    if (!options.autoStart) this.#state = 'stopped'
    this.#keeper = new SubscriptionKeeper(binding, options, host, {
      deliver: (delivery) => this.#accept(delivery),
      recall: () => this.#recall(),
      isHeld: () => this.#isHeld,
      onTaken: () => this.#taken(),
      onAway: (error) => this.#away(error),
      onStalled: (stall) => this.#stalls.subscriptionSays(stall),
      onDisplaced: (displacement) => this.#displacedBy(displacement),
      onRefused: (error) => this.#halt(error),
    })
    this.#pace = Pace.of(options, host, () => this.#lanes.wake())
    this.#dispatcher = new DeliveryDispatcher(options.name, this.#run, host, {
      onTurnEnded: () => this.#pace?.ended(),
      onEnded: (delivery, end) => this.#settle(delivery, end),
    })
    this.#lanes = this.#newLine(gate ?? this.#pace)
  }

  get #consumerName(): ConsumerName {
    return { destination: this.#binding.input.name, group: this.options.group }
  }

  get #isHeld(): boolean {
    return this.#paused || this.#pace?.circuit === 'open'
  }

  get autoStart(): boolean {
    return this.options.autoStart
  }

  /**
   * True with a place at the broker unless it is paused, even while part of its subscription is blocked, because the rest
   * continues.
   */
  get isReceiving(): boolean {
    return this.#state === 'running'
  }

  status(): BindingStatus {
    return {
      name: this.options.name,
      kind: this.#binding.kind,
      channel: this.#binding.input.name,
      group: this.options.group,
      partitions: this.#binding.input.partitions,
      ...this.#condition(),
      subscribed: this.#subscribed,
      running: this.#lanes.running,
      queued: this.#lanes.queued,
      ...this.#dispatcher.runningCalls.slowness(this.options.slowAfterMs),
      handled: this.#counts.handled,
      deadLettered: this.#counts['dead-lettered'],
      dropped: this.#counts.dropped,
      discarded: this.#counts.discarded,
      retried: this.#counts.retried,
      ...(this.#displaced.skipped > 0 ? { skipped: this.#displaced.skipped } : {}),
      ...(this.#displaced.repeated > 0 ? { repeated: this.#displaced.repeated } : {}),
    }
  }

  lag(): Promise<number | undefined> {
    return this.#keeper.lag()
  }

  deadLetters(): Promise<number | undefined> {
    return this.#keeper.deadLetters()
  }

  /** Creates the required broker objects, without joining the group. @throws TransportError */
  prepare(): Promise<void> {
    return this.#keeper.prepare()
  }

  #condition(): Pick<BindingStatus, 'state' | 'error' | 'circuit'> {
    const isRunning = this.#state === 'running'
    const isBroken = this.#pace?.reason !== undefined && isRunning
    const { worst } = this.#stalls
    const stall = isRunning ? worst?.reason.message : undefined
    return {
      state: isRunning && worst?.isPassing === false ? 'connecting' : isBroken ? 'paused' : this.#state,
      error: this.#error?.message ?? stall ?? (isBroken ? this.#pace?.reason : undefined),
      circuit: this.#pace?.circuit,
    }
  }

  /** Resolves after the first attempt: running, or connecting in the background. @throws errors that no retry fixes */
  async start(): Promise<void> {
    const stops = this.#stops
    // A pause before the first start is kept: what pauses a binding may know earlier than the binding that it must not run.
    if (this.#state !== 'idle') this.#startsPaused = false
    await this.#halting
    await this.#stopping
    if (this.#stops > stops) return
    if (this.#state !== 'idle' && this.#state !== 'stopped' && this.#state !== 'halted') return
    const halt = this.#state === 'halted' ? this.#error : undefined
    const run = new ConsumerRun()
    this.#run = run
    this.#dispatcher.begin(run, this.#newRunHandling())
    this.#pace?.reset()
    this.#error = undefined
    this.#state = 'connecting'
    try {
      const taken = this.#keeper.take(run)
      if (this.#startsPaused) this.pause()
      else this.resume()
      await taken
    } catch (error) {
      // Otherwise it was stopped in between, and may be running again.
      if (!run.over) {
        this.#state = halt === undefined ? 'stopped' : 'halted'
        this.#error = halt
      }
      throw error
    }
  }

  /** Passes no more messages to the handler; keeps the place in the group and prefetched messages. */
  pause(): void {
    this.#startsPaused = true
    if (this.#run.over) return
    this.#paused = true
    this.#lanes.hold()
    this.#keeper.pause()
    if (this.#state === 'running') this.#state = 'paused'
  }

  resume(): void {
    this.#startsPaused = false
    if (this.#run.over) return
    this.#paused = false
    this.#lanes.release()
    this.#keeper.resume()
    if (this.#state === 'paused') this.#state = 'running'
  }

  /** Finishes running calls within the drain time, gives back the rest and leaves the group. Idempotent; never rejects. */
  async stop(): Promise<void> {
    this.#stops++
    if (this.#state === 'idle') this.#state = 'stopped'
    if (this.#state === 'stopped') return
    this.#stopping ??= this.#stop().finally(() => (this.#stopping = undefined))
    await this.#stopping
  }

  async #stop(): Promise<void> {
    const { clock, drainTimeoutMs } = this.#host
    const until = clock.monotonic() + drainTimeoutMs
    const { run } = this.#end('stopping')
    await this.#halting
    await this.#drain(run, drainTimeoutMs)
    await this.#finishGaps(run, until)
    await this.#keeper.leave()
    this.#state = 'stopped'
  }

  #newRunHandling(): RunHandling {
    const { withdrawn, runningCalls } = this.#dispatcher
    return newRunHandling(this.#binding, this.options, this.#host, this.#run, this.#pace, {
      withdrawn,
      stalledWrites: this.#stalls.stalledWrites,
      runningCalls,
    })
  }

  #newLine(gate: LineAdmission | undefined): Line<TransportDelivery> {
    const { concurrency, batch } = this.options
    const keyOf = ({ message }: TransportDelivery): string | null => message.key
    const { clock } = this.#host
    if (batch === undefined) {
      const handle = (delivery: TransportDelivery): Promise<void> | undefined => this.#dispatcher.one(delivery)
      return new Lanes(concurrency, keyOf, handle, { turns: turnsOf(clock), gate })
    }
    const run: RunBatch<TransportDelivery> = (deliveries, done) => this.#dispatcher.batch(deliveries, done)
    return new BatchFormation({ concurrency, ...batch }, keyOf, run, { clock, gate })
  }

  #end(state: BindingState): { run: ConsumerRun } {
    const run = this.#run
    this.#stalls.subscriptionEnded()
    run.over = true
    run.stopping.abort(new Error('the binding stops'))
    this.#state = state
    this.#host.outage.over(this.options.name)
    this.#lanes.hold()
    this.#keeper.pause()
    this.giveBack()
    return { run }
  }

  /** Checks whether a message may begin now. */
  wake(): void {
    this.#lanes.wake()
  }

  /** Resolves when no handler runs. */
  idle(): Promise<void> {
    return this.#lanes.idle()
  }

  /** Gives back all messages that have not begun to the broker. */
  giveBack(): void {
    for (const delivery of this.#lanes.remove(() => true)) delivery.release()
  }

  async #drain(run: ConsumerRun, timeoutMs: number): Promise<void> {
    const drained = await finishesWithin(this.#host.clock, timeoutMs, this.#lanes.idle())
    if (!drained) run.drain.abort(new Error('the drain ran out of time'))
  }

  /** Starts the messages below handled ones in the first half of the remaining drain time, so that they can end in the second. */
  async #finishGaps(run: ConsumerRun, until: number): Promise<void> {
    const { clock } = this.#host
    const leftMs = until - clock.monotonic()
    if (run.drain.signal.aborted || leftMs <= 0 || this.#isHeld) return
    const over = new AbortController()
    this.#lanes.release()
    await finishesWithin(clock, leftMs / 2, this.#keeper.finishGaps(over.signal))
    over.abort()
    this.#lanes.hold()
    this.giveBack()
    await this.#drain(run, until - clock.monotonic())
  }

  #taken(): void {
    this.#subscribed++
    this.#error = undefined
    this.#state = this.#paused ? 'paused' : 'running'
    this.#host.outage.over(this.options.name)
    this.#host.logger.info({ binding: this.options.name }, 'binding is running')
  }

  #displacedBy({ reason, skipped, repeated, isLoss }: Displacement): void {
    const { name, group } = this.options
    this.#displaced.skipped += skipped
    this.#displaced.repeated += repeated
    const fields = { binding: name, group, skipped, repeated }
    if (isLoss) this.#host.logger.error(fields, `messages are lost: ${reason}`)
    else this.#host.logger.warn(fields, `the group begins at an unexpected position: ${reason}`)
    this.#host.telemetry?.displaced(this.#binding.input.name, group, { skipped, repeated, isLoss })
  }

  #away(error: Error): void {
    this.#error = error
    this.#stalls.subscriptionEnded()
    this.#state = 'connecting'
    this.#host.outage.away(this.options.name, error)
  }

  /** Messages that wait for the circuit to close have not begun their next attempt, so they can wait at the broker, too. */
  #recall(): void {
    if (this.#pace === undefined) this.giveBack()
    else void this.#recallInOrder(this.#pace, this.#run)
  }

  /**
   * Messages that wait for the circuit are older than the queued ones. They are released first, without deliveries in between:
   * otherwise a partition that stays here would deliver younger ones before them.
   */
  async #recallInOrder(pace: Pace, run: ConsumerRun): Promise<void> {
    this.#lanes.hold()
    this.#keeper.pause()
    pace.dismiss()
    await turnsOf(this.#host.clock).next()
    this.giveBack()
    if (run.over || this.#paused) return
    this.#lanes.release()
    this.#keeper.resume()
  }

  #accept(delivery: TransportDelivery): void {
    const { signal } = delivery
    if (!this.#watched.has(signal)) this.#watch(signal)
    this.#lanes.push(delivery)
  }

  /** When a delivery is withdrawn before it has started, it goes back at once and never runs here. */
  #watch(signal: AbortSignal): void {
    this.#watched.add(signal)
    signal.addEventListener('abort', () => {
      for (const delivery of this.#lanes.remove((queued) => queued.signal === signal)) delivery.release()
    })
  }

  #settle(delivery: TransportDelivery, end: HandlingEnd): void {
    this.#counts[end]++
    this.#stalls.stalledWrites.over(delivery)
    this.#host.telemetry?.wasSettled(delivery, this.#consumerName, end)
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
    this.#halting = this.#drain(run, this.#host.drainTimeoutMs).then(() => this.#keeper.leave())
  }
}
