import { DAY, SECOND } from '../../core/clock.ts'
import { requireInteger } from '../../core/errors.ts'
import { optionNames, refuseUnknown, requireFunction } from '../../core/option-checks.ts'
import { finishesWithin, unlessAborted } from '../../core/time-limit.ts'
import type { ConsumerBinding, PollBinding, SinkBinding } from '../bindings/declarations.ts'
import type { Handler, TransactionContext } from '../bindings/handler-types.ts'
import type { PollOptions } from '../bindings/pollable.ts'
import { type ResolvedConsumer, resolveKeepMs } from '../bindings/resolve-options.ts'
import { notReady } from '../errors.ts'
import type { BindingStatus } from '../status.ts'
import { Consumer } from './consumer.ts'
import type { LineAdmission } from './line-interface.ts'
import type { ConsumerHost } from './run-handling.ts'

const NAMES = optionNames<PollOptions>({ waitMs: true, signal: true })
const DEFAULT_WAIT_MS = 5 * SECOND
/** How long a poll waits to join the group. */
const JOIN_MS = 30 * SECOND
const LOOK_EVERY_MS = 20

export type PollHandler = Handler<unknown, TransactionContext, unknown>

/** Admits one message when a poll waits for it. */
class PollGate implements LineAdmission {
  #onBegun: (() => void) | undefined

  open(onBegun: () => void): void {
    this.#onBegun = onBegun
  }

  /** @returns true if it was open, so nothing has begun */
  close(): boolean {
    const wasOpen = this.#onBegun !== undefined
    this.#onBegun = undefined
    return wasOpen
  }

  admit(): number {
    const onBegun = this.#onBegun
    if (onBegun === undefined) return 0
    this.#onBegun = undefined
    onBegun()
    return 1
  }
}

/**
 * A consumer that runs only during polls, which come one after the other:
 *
 *   stopped --poll--> running --one message or waitMs--> paused --keepMs--> stopped
 *
 * While it is paused it keeps its place in the group and gives back prefetched messages.
 */
export class Puller {
  readonly autoStart = false
  readonly binding: PollBinding
  readonly #host: ConsumerHost
  readonly #options: ResolvedConsumer
  readonly #keepMs: number
  readonly #gate: PollGate = new PollGate()
  readonly #consumer: Consumer
  #handler: PollHandler | undefined
  #turn: Promise<unknown> = Promise.resolve()
  #isPolling = false
  /** Called when the user resumes; set while paused by the user. */
  #onResume: Set<() => void> | undefined
  /** Replaced by each stop, which ends waiting polls. */
  #stopping: AbortController = new AbortController()
  #cancelLeaving: (() => void) | undefined

  /** @param wrap the binding's middleware around a handler */
  constructor(
    binding: PollBinding,
    options: ResolvedConsumer,
    host: ConsumerHost,
    wrap: (binding: SinkBinding) => ConsumerBinding,
  ) {
    this.binding = binding
    this.#host = host
    this.#options = options
    this.#keepMs = resolveKeepMs(binding)
    const handler: PollHandler = (payload, context) => this.#handler?.(payload, context)
    const inner = wrap({ kind: 'sink', input: binding.input, output: undefined, options: binding.options, handler })
    this.#consumer = new Consumer(inner, options, host, this.#gate)
  }

  status(): BindingStatus {
    const status = this.#consumer.status()
    const isAtWork = this.#isPolling && status.state === 'paused'
    return { ...status, kind: 'poll', state: isAtWork ? 'running' : status.state }
  }

  lag(): Promise<number | undefined> {
    return this.#consumer.lag()
  }

  deadLetters(): Promise<number | undefined> {
    return this.#consumer.deadLetters()
  }

  /** Creates the group, so that it receives messages sent before the first poll. */
  prepare(): Promise<void> {
    return this.#consumer.prepare()
  }

  /** Joins the group without a poll, and stays until `stop` or `keepMs` after the next poll. */
  async start(): Promise<void> {
    await this.#consumer.start()
    // A poll that began in between needs it awake, and pauses it at its end.
    if (!this.#isPolling) this.#rest()
  }

  pause(): void {
    this.#onResume ??= new Set()
  }

  resume(): void {
    for (const resumed of this.#onResume ?? []) resumed()
    this.#onResume = undefined
  }

  /** Waiting polls end with `false`; a running handler is awaited for at most the drain time. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error('the binding stops'))
    this.#stopping = new AbortController()
    this.#cancelLeaving?.()
    await this.#consumer.stop()
  }

  /** @throws the errors of `Binder.poll` */
  poll(handler: PollHandler, options: PollOptions = {}): Promise<boolean> {
    const path = `poll("${this.#options.name}")`
    requireFunction(`${path} handler`, handler)
    refuseUnknown(path, options, NAMES)
    const waitMs = requireInteger(`${path}.waitMs`, options.waitMs ?? DEFAULT_WAIT_MS, 0, DAY)
    const signals = [this.#stopping.signal, ...(options.signal === undefined ? [] : [options.signal])]
    const polled = this.#turn.then(() => this.#poll(handler, waitMs, AbortSignal.any(signals)))
    this.#turn = polled.catch(() => {})
    return polled.catch((error: unknown) => {
      if (signals[0]?.aborted !== true) throw error
      return false
    })
  }

  async #poll(handler: PollHandler, waitMs: number, signal: AbortSignal): Promise<boolean> {
    signal.throwIfAborted()
    if (!(await this.#mayGoOn(waitMs, signal))) return false
    this.#cancelLeaving?.()
    this.#isPolling = true
    this.#handler = handler
    try {
      await this.#takePlace(signal)
      return await this.#pull(waitMs, signal)
    } finally {
      this.#isPolling = false
      this.#rest()
      await this.#leaveSoon()
    }
  }

  /** Returns false if it stays paused by the user. */
  async #mayGoOn(waitMs: number, signal: AbortSignal): Promise<boolean> {
    const onResume = this.#onResume
    if (onResume === undefined) return true
    const resumed = Promise.withResolvers<void>()
    onResume.add(resumed.resolve)
    try {
      return await this.#settlesWithin(waitMs, signal, resumed)
    } finally {
      onResume.delete(resumed.resolve)
    }
  }

  /** Returns false if the time limit passed first. Leaves no listener on `signal`, which Node would keep alive. */
  async #settlesWithin(
    waitMs: number,
    signal: AbortSignal,
    { promise, resolve }: PromiseWithResolvers<void>,
  ): Promise<boolean> {
    try {
      return await finishesWithin(this.#host.clock, waitMs, unlessAborted(signal, promise))
    } finally {
      resolve()
    }
  }

  async #takePlace(signal: AbortSignal): Promise<void> {
    const { clock } = this.#host
    const deadline = clock.monotonic() + JOIN_MS
    const { state } = this.#consumer.status()
    if (state === 'idle' || state === 'stopped') await unlessAborted(signal, this.#consumer.start())
    this.#consumer.resume()
    for (;;) {
      if (this.#consumer.isReceiving) return
      const status = this.#consumer.status()
      if (status.state === 'halted' || clock.monotonic() >= deadline) throw notReady([status])
      await clock.sleep(LOOK_EVERY_MS, signal)
    }
  }

  async #pull(waitMs: number, signal: AbortSignal): Promise<boolean> {
    const begun = Promise.withResolvers<void>()
    // Paused at the start of the call; otherwise the broker would send the next message as soon as this one is settled.
    this.#gate.open(() => {
      this.#consumer.pause()
      begun.resolve()
    })
    this.#consumer.wake()
    try {
      await this.#settlesWithin(waitMs, signal, begun)
    } catch (error) {
      // A running call is awaited, even if its caller gave up.
      if (this.#gate.close()) throw error
    }
    if (this.#gate.close()) return false
    await this.#consumer.idle()
    return true
  }

  #rest(): void {
    this.#consumer.pause()
    this.#consumer.giveBack()
  }

  /** Leaves at once, or after a while without a poll. */
  async #leaveSoon(): Promise<void> {
    if (this.#keepMs === 0) await this.#leave()
    else {
      this.#cancelLeaving = this.#host.clock.setTimer(this.#keepMs, () => {
        this.#turn = this.#turn.then(() => this.#leave())
      })
    }
  }

  async #leave(): Promise<void> {
    if (!this.#isPolling && this.#consumer.status().state !== 'halted') await this.#consumer.stop()
  }
}
