import { lastingContext } from '../../core/async-contexts.ts'
import { backoffDelayMs } from '../../core/backoff.ts'
import { toError } from '../../core/errors.ts'
import { withFields } from '../../core/logger.ts'
import { readable } from '../../core/thrown-values.ts'
import { finishesWithin } from '../../core/time-limit.ts'
import type { SourceBinding } from '../bindings/declarations.ts'
import { RECONNECT_BACKOFF, type ResolvedSource } from '../bindings/resolve-options.ts'
import type { EncodedMessage } from '../channel/message.ts'
import { publishEach } from '../consuming/failure/publish-until-confirmed.ts'
import type { ConsumerHost } from '../consuming/run-handling.ts'
import { RunningCalls } from '../consuming/running-calls.ts'
import { StallReasons } from '../consuming/stall-reasons.ts'
import { SendError, TransportError } from '../errors.ts'
import { callKeepingHeaders } from '../sending/ambient-headers.ts'
import { encodeOutputs } from '../sending/encode-outputs.ts'
import type { BindingState, BindingStatus } from '../status.ts'

/** Number of consecutive failed polls before health reports them. Fewer take less than a second, plus the polls. */
const FAILURES_IN_A_ROW = 3

/**
 * One running source: poll, send the result, wait, repeat. A failed poll is logged and repeated with backoff.
 *
 * A message that the broker can never take is logged, counted and dropped, and the source continues, if the message is too large,
 * or others of its poll were accepted. If the broker refuses all of a poll, names, settings or rights are wrong: the source halts
 * and keeps the messages, and `start()` sends them again first. Confirmed messages are not sent again.
 */
export class Poller {
  readonly name: string
  readonly autoStart = true
  readonly #binding: SourceBinding
  readonly #options: ResolvedSource
  readonly #host: ConsumerHost
  /** The running poll. */
  readonly #calls: RunningCalls
  /** Holds the missing right to write. */
  readonly #stalls: StallReasons
  #state: BindingState = 'idle'
  /** True if a pause was requested while a start waits for the previous stop. */
  #startsPaused = false
  #error: Error | undefined
  /** Number of consecutive failed polls. */
  #failures = 0
  #abort: AbortController = new AbortController()
  #loop: Promise<void> = Promise.resolve()
  /** Set while it stops. */
  #stopping: Promise<void> | undefined
  /** Number of requested stops. */
  #stops = 0
  #wake: (() => void) | undefined
  #started = 0
  #handled = 0
  #dropped = 0
  /** Polled but unconfirmed messages. */
  #unsent: readonly EncodedMessage[] = []

  constructor(binding: SourceBinding, options: ResolvedSource, host: ConsumerHost) {
    this.#binding = binding
    this.name = options.name
    this.#options = options
    this.#host = host
    this.#calls = new RunningCalls(host.clock)
    this.#stalls = new StallReasons(options.name, host)
  }

  status(): BindingStatus {
    const isRunning = this.#state === 'running'
    const stall = isRunning ? this.#stalls.worst : undefined
    const isStalled = stall !== undefined || (isRunning && this.#failures >= FAILURES_IN_A_ROW)
    return {
      name: this.name,
      kind: 'source',
      channel: this.#binding.output.name,
      group: null,
      partitions: this.#binding.output.partitions,
      state: isStalled ? 'connecting' : this.#state,
      error: stall?.reason.message ?? this.#error?.message,
      subscribed: this.#started,
      running: this.#state === 'running' ? 1 : 0,
      queued: 0,
      ...this.#calls.slowness(this.#options.slowAfterMs),
      handled: this.#handled,
      deadLettered: 0,
      dropped: this.#dropped,
      discarded: 0,
      retried: 0,
    }
  }

  async start(): Promise<void> {
    const stops = this.#stops
    // Like a consumer's: a pause before the first start is kept.
    if (this.#state !== 'idle') this.#startsPaused = false
    await this.#stopping
    if (this.#stops > stops || this.#state === 'running' || this.#state === 'paused') return
    this.#state = this.#startsPaused ? 'paused' : 'running'
    this.#started++
    this.#abort = new AbortController()
    const { signal } = this.#abort
    // A poll that outlasted the drain may still be running: only one at a time.
    const inContext = lastingContext()
    this.#loop = this.#loop.then(() => inContext(() => this.#poll(signal)))
  }

  pause(): void {
    this.#startsPaused = true
    if (this.#state === 'running') this.#state = 'paused'
  }

  resume(): void {
    this.#startsPaused = false
    if (this.#state !== 'paused') return
    this.#state = 'running'
    this.#wake?.()
  }

  /** Lets the poll and its sends finish within the drain time. */
  async stop(): Promise<void> {
    this.#stops++
    if (this.#state === 'stopped') return
    this.#stopping ??= this.#end().finally(() => (this.#stopping = undefined))
    await this.#stopping
  }

  async #end(): Promise<void> {
    this.#abort.abort(new Error('the binder closes'))
    this.#wake?.()
    await finishesWithin(this.#host.clock, this.#host.drainTimeoutMs, this.#loop)
    this.#state = 'stopped'
  }

  async #poll(signal: AbortSignal): Promise<void> {
    this.#failures = 0
    while (!signal.aborted) {
      if (this.#state === 'paused') {
        await new Promise<void>((resolve) => (this.#wake = resolve))
        continue
      }
      this.#failures = (await this.#pollOnce(signal)) ? 0 : this.#failures + 1
      if (this.#isHalted()) return
      const pauseMs =
        this.#failures === 0 ? this.#options.everyMs : backoffDelayMs(RECONNECT_BACKOFF, this.#failures, Math.random())
      await this.#host.clock.sleep(pauseMs, signal).catch(() => {})
    }
  }

  async #pollOnce(signal: AbortSignal): Promise<boolean> {
    try {
      if (this.#unsent.length === 0) this.#unsent = await this.#messages(signal)
      await this.#send(signal)
      this.#handled++
      this.#error = undefined
      return true
    } catch (thrown) {
      if (!signal.aborted) {
        const error = readable(thrown)
        this.#error = toError(error)
        if (this.#unsent.length > 0) this.#state = 'halted'
        const halted = this.#isHalted()
        this.#host.logger.error(
          { err: error, binding: this.name },
          halted ? 'source halted' : 'source failed, polling again',
        )
      }
      return false
    }
  }

  /** @throws the reason why none was accepted, or the reason of the signal; unconfirmed messages stay unsent */
  async #send(signal: AbortSignal): Promise<void> {
    const sent = this.#unsent
    const { stalledWrites } = this.#stalls
    const { publisher } = this.#host
    const ends = await publishEach(
      {
        ...this.#host,
        binding: this.name,
        stalledWrites,
        confirmsSingly: publisher.confirmsSingly,
        publish: (messages) => publisher.publish(messages, 'none'),
      },
      sent,
      () => signal,
    )
    const wasTaken = ends.includes(undefined)
    const kept: EncodedMessage[] = []
    let reason: unknown
    for (const [i, message] of sent.entries()) {
      const error = ends[i]
      if (error === undefined) continue
      if (error instanceof SendError && (wasTaken || isTooLarge(error))) {
        this.#dropped++
        const fields = { err: error, binding: this.name, messageId: message.id }
        this.#host.logger.error(fields, 'the broker never takes a message of this source: dropped')
        continue
      }
      kept.push(message)
      reason ??= error
    }
    this.#unsent = kept
    if (kept.length > 0) throw reason
  }

  #isHalted(): boolean {
    return this.#state === 'halted'
  }

  async #messages(signal: AbortSignal): Promise<EncodedMessage[]> {
    const log = withFields(this.#host.logger, { binding: this.name })
    this.#calls.begin(signal)
    try {
      const made = await callKeepingHeaders(this.#host.ambient, () => this.#binding.poll({ signal, log }))
      if (made.value === undefined) return []
      return await encodeOutputs(made, this.#binding.output, this.#host, () => undefined)
    } finally {
      this.#calls.end(signal)
    }
  }
}

function isTooLarge({ cause }: SendError): boolean {
  return cause instanceof TransportError && cause.kind === 'too_large'
}
