import { lastingContext } from '../core/async-contexts.ts'
import { backoffDelayMs } from '../core/backoff.ts'
import { SECOND } from '../core/clock.ts'
import { unlessAborted, within } from '../core/time-limit.ts'
import type { ReadyOptions } from './bus.ts'
import { BusError } from './errors.ts'
import { type Presence, ROLL_CALL_MS } from './presence.ts'
import type { BusContext } from './shared-dependencies.ts'
import type { WatchedConfigs } from './watched-configs.ts'

const HELLO_BACKOFF = Object.freeze({ initialMs: 200, factor: 2, maxMs: 5 * SECOND, jitter: 0.2 })
const READY_MS = 30 * SECOND
const CLOSE_MS = 2 * SECOND

/**
 * Life of an instance apart from its events: reads its state, announces itself when it can receive, and looks for gaps. A gap is
 * a repeated subscription: this instance missed the events published in between, so it reads its state again.
 */
export class InstanceLifecycle {
  readonly #context: BusContext
  readonly #configs: WatchedConfigs
  readonly #presence: Presence | undefined
  readonly #closing = new AbortController()
  readonly #joined = Promise.withResolvers<void>()
  #rollCallEndsAt = Number.POSITIVE_INFINITY
  #subscribed = 0
  #running: Promise<void> = Promise.resolve()

  constructor(context: BusContext, configs: WatchedConfigs, presence: Presence | undefined) {
    this.#context = context
    this.#configs = configs
    this.#presence = presence
    this.#joined.promise.catch(() => {})
  }

  /** Resolves when the configs were tried and, while the broker is up, this instance was announced. */
  async start(): Promise<void> {
    const { connection, clock } = this.#context
    this.#subscribed = connection.subscribed
    const canHear = connection.trouble === undefined
    const inContext = lastingContext()
    this.#running = inContext(() => this.#run())
    await inContext(() => this.#configs.start())
    if (canHear) await within(clock, SECOND, this.#joined.promise, undefined)
  }

  /** @throws `bus.not_ready`, the reason of the signal */
  async ready({ timeoutMs = READY_MS, signal }: Omit<ReadyOptions, 'acks'>): Promise<void> {
    await unlessAborted(signal ?? this.#closing.signal, this.#untilJoined(timeoutMs))
    await this.#context.connection.listening({ timeoutMs, signal })
  }

  /**
   * Makes a new instance wait until the others may have answered. @throws `bus.not_ready` when its announcement does not come
   * back
   */
  async rollCall(): Promise<void> {
    const { clock } = this.#context
    if (this.#presence === undefined) return
    await this.#untilJoined(READY_MS)
    const leftMs = this.#rollCallEndsAt - clock.monotonic()
    if (leftMs > 0) await clock.sleep(leftMs, this.#closing.signal)
  }

  async #untilJoined(timeoutMs: number): Promise<void> {
    const { clock, connection } = this.#context
    const joined = this.#joined.promise.then(() => true)
    if (await within(clock, timeoutMs, joined, false)) return
    throw new BusError('bus.not_ready', { waiting: [connection.trouble ?? 'hello is not confirmed'] })
  }

  async close(): Promise<void> {
    this.#closing.abort(new BusError('bus.closed', { state: 'closed' }))
    this.#configs.close()
    // The member may be announcing itself to an unavailable broker at this moment.
    await within(this.#context.clock, CLOSE_MS, this.#running, undefined)
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing
    const { clock, heartbeatMs } = this.#context
    try {
      await this.#join(signal)
      for (;;) {
        await clock.sleep(heartbeatMs, signal)
        this.#lookForGap()
        await this.#presence?.beat()
      }
    } catch (error) {
      this.#joined.reject(error)
    }
  }

  async #join(signal: AbortSignal): Promise<void> {
    const { clock, connection, logger } = this.#context
    await connection.listening({ timeoutMs: Number.POSITIVE_INFINITY, signal })
    this.#lookForGap()
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#presence?.hello(connection.binder)
        break
      } catch (error) {
        logger[attempt === 1 ? 'warn' : 'debug']({ err: error }, 'bus: could not say hello, trying again')
        await clock.sleep(backoffDelayMs(HELLO_BACKOFF, attempt, Math.random()), signal)
      }
    }
    this.#rollCallEndsAt = clock.monotonic() + ROLL_CALL_MS
    this.#joined.resolve()
  }

  #lookForGap(): void {
    const { connection, counters, logger } = this.#context
    const { subscribed } = connection
    if (subscribed === this.#subscribed) return
    this.#subscribed = subscribed
    counters.gaps++
    logger.warn({}, 'bus: events may have been missed, loading the configs again')
    void this.#configs.reload()
  }
}
