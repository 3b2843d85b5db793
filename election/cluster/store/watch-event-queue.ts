import { toError } from '../../../core/errors.ts'
import type { Logger } from '../../../core/logger.ts'

/** A watch that is running. */
export interface Watch {
  /** Up to here everything has been handed over, or was not asked for; give it as `after` to go on from here. */
  readonly version: number
  /** Stops handing over entries. Idempotent. */
  stop(): void
}

export interface FeedFields<Event> {
  /** More events than this are not kept: then one of `everything` takes their place. */
  readonly maxPending: number
  /** The snapshot of now, for one who was too slow. */
  readonly everything: () => Event
  readonly onStop: () => void
  /** The version up to which everything was pushed. */
  readonly upTo: () => number
  /** Where it begins. */
  readonly after?: number | undefined
}

/**
 * The events of one watcher, in order, each once. Bounded: a watcher that does not keep up gets a snapshot instead of
 * what it missed, and never makes others wait.
 */
export class WatchEventQueue<Event extends { readonly version: number; readonly type: string }>
  implements AsyncIterableIterator<Event>, Watch
{
  readonly #fields: FeedFields<Event>
  #pending: Event[] = []
  #overflowed = false
  #held = false
  /** Changes up to here have been handed over, or were not asked for: only one who resumes hears of them again. */
  #floor = Number.NEGATIVE_INFINITY
  #stopped = false
  #failure: unknown
  #version = 0
  #wanted: PromiseWithResolvers<void> | undefined
  #forget: () => void = () => {}

  constructor(fields: FeedFields<Event>) {
    this.#fields = fields
    this.#version = fields.after ?? 0
  }

  /** Also moves while nothing of interest happens: who resumes from it need not look through that again. */
  get version(): number {
    const isIdle = this.#pending.length === 0 && !this.#overflowed && !this.#held && !this.#stopped
    return isIdle ? Math.max(this.#version, this.#fields.upTo()) : this.#version
  }

  /** Changes up to here are not handed over again. */
  get floor(): number {
    return this.#floor
  }

  push(event: Event): void {
    if (this.#stopped || this.#overflowed || !this.#isNews(event)) return
    if (this.#pending.length >= this.#fields.maxPending) {
      this.#pending = []
      this.#overflowed = true
    } else this.#pending.push(event)
    this.#wake()
  }

  /** Hands nothing over until `release`, but goes on collecting what comes after this version. */
  hold(after: number): void {
    this.#floor = after
    this.#held = true
  }

  /** These first, which tell of everything up to `upTo`, then what was collected after that. */
  release(first: readonly Event[], upTo: number): void {
    this.#floor = upTo
    if (!this.#overflowed) this.#pending = [...first, ...this.#pending.filter((event) => this.#isNews(event))]
    this.#held = false
    this.#wake()
  }

  /** In place of all that was collected: everything, as it is now. */
  releaseWith(snapshot: Event): void {
    this.#pending = []
    this.release([snapshot], snapshot.version)
  }

  /** The next event without waiting, if there is one. */
  take(): Event | undefined {
    if (this.#held || this.#stopped) return undefined
    const event = this.#overflowed ? this.#fields.everything() : this.#pending.shift()
    if (this.#overflowed && event !== undefined) this.#isNews(event)
    this.#overflowed = false
    if (event !== undefined) this.#version = event.version
    return event
  }

  async next(): Promise<IteratorResult<Event, undefined>> {
    for (;;) {
      const event = this.take()
      if (event !== undefined) return { done: false, value: event }
      if (this.#stopped) {
        if (this.#failure === undefined) return { done: true, value: undefined }
        const failure = this.#failure
        this.#failure = undefined
        throw toError(failure)
      }
      this.#wanted ??= Promise.withResolvers()
      await this.#wanted.promise
    }
  }

  async return(): Promise<IteratorResult<Event, undefined>> {
    this.stop()
    return { done: true, value: undefined }
  }

  /** @param failure what an iterator throws; without it, it ends */
  stop(failure?: unknown): void {
    if (this.#stopped) return
    this.#version = this.version
    this.#stopped = true
    this.#failure = failure
    this.#pending = []
    this.#forget()
    this.#fields.onStop()
    this.#wake()
  }

  /** Ends an iterator with the reason of `signal`. */
  stopOn(signal: AbortSignal | undefined): void {
    if (signal === undefined || this.#stopped) return
    const onAbort = (): void => this.stop(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    this.#forget = () => signal.removeEventListener('abort', onAbort)
  }

  get isStopped(): boolean {
    return this.#stopped
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stop()
  }

  /** A snapshot always is, an earlier version too: the store lost what came after it, and changes go on from there. */
  #isNews(event: Event): boolean {
    if (this.#floor === Number.NEGATIVE_INFINITY) return true
    if (event.type === 'change') return event.version > this.#floor
    this.#floor = event.version
    return true
  }

  #wake(): void {
    this.#wanted?.resolve()
    this.#wanted = undefined
  }
}

/** Calls `listener` for one event after the other, awaiting it; what it throws is logged. Ends with the feed. */
export async function deliver<Event extends { readonly version: number; readonly type: string }>(
  feed: WatchEventQueue<Event>,
  listener: (event: Event) => void | Promise<void>,
  logger: Logger,
): Promise<void> {
  for await (const event of feed) {
    try {
      await listener(event)
    } catch (error) {
      logger.error({ err: toError(error) }, 'cluster: a watcher failed')
    }
  }
}
