import { constants } from 'node:os'
import { type Clock, SECOND } from '../core/clock.ts'
import { invalidOption, requireInteger } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import { hasMethods, optionNames, refuseUnknown, wrongKind } from '../core/option-checks.ts'
import { RUNTIME_NAMES, type RuntimeOptions, resolveRuntime } from '../core/runtime-options.ts'
import { finishesWithin } from '../core/time-limit.ts'

/** A part with an idempotent `close`: an election, a binder, locks. */
export interface Closable {
  close(): unknown
}

/** Name of the method with which a part is notified of a signal, before anything is closed. */
export const ENDS: unique symbol = Symbol('concordat.ends')

/** A part whose callers must not get an error because it is closed, when the process ends by a signal. */
export interface EndsBySignal {
  /**
   * @param closed resolves when everything is closed, right before the process ends; it stays alive if another owner requires it
   */
  [ENDS](signal: NodeJS.Signals, closed: Promise<void>): void
}

/** Options of `closeOnSignals`. */
export interface CloseOnSignalsOptions extends RuntimeOptions {
  /** Closed first, concurrently, because their hand-over needs the parts in `after`. @default none */
  readonly elections?: readonly Closable[] | undefined
  /**
   * Closed afterwards, one by one: parts that the leader uses, the locks of the elections, and last their connections. A function
   * is called.
   */
  readonly after?: ReadonlyArray<Closable | (() => unknown)> | undefined
  /** Signals that close it. @default ['SIGTERM', 'SIGINT'] */
  readonly signals?: readonly NodeJS.Signals[] | undefined
  /** Total time limit in ms; parts that have not closed by then are abandoned. @default 30 seconds */
  readonly timeoutMs?: number | undefined
  /**
   * True: ends the process by the received signal, once every `closeOnSignals` in it has closed (process 1 of a container: with
   * the corresponding exit code, 143 after SIGTERM). A process with its own listener for the signal, added by `on` or `once`,
   * ends itself. False: it ends when nothing keeps it alive. @default true
   */
  readonly exit?: boolean | undefined
}

/** Waits for a signal, until it arrives or `stop` is called. */
export interface SignalHandling extends Disposable {
  /** Resolves when a signal has arrived and everything is closed, or the time limit has passed. Never rejects. */
  readonly closed: Promise<void>
  /** Stops listening. Idempotent. */
  stop(): void
}

const NAMES = optionNames<CloseOnSignalsOptions>({
  elections: true,
  after: true,
  signals: true,
  timeoutMs: true,
  exit: true,
  ...RUNTIME_NAMES,
})

/**
 * Closes everything in the right order when the process receives a signal: leaderships are handed over while the parts that they
 * need are open, so the next leader begins within milliseconds instead of a ttl. The signal counts once: another one while it
 * closes ends the process immediately.
 * @throws TypeError / RangeError naming the option
 */
export function closeOnSignals(options: CloseOnSignalsOptions): SignalHandling {
  refuseUnknown('closeOnSignals', options, NAMES)
  return new Shutdown(options)
}

/** Listeners of every `closeOnSignals` in this process. */
const ours = new WeakSet<object>()
/** Shutdowns in progress in this process: the last one to finish may end it. */
const underWay = new Set<object>()

class Shutdown implements SignalHandling {
  readonly #ending: readonly EndsBySignal[]
  readonly #steps: ReadonlyArray<ReadonlyArray<() => unknown>>
  readonly #signals: readonly NodeJS.Signals[]
  readonly #timeoutMs: number
  readonly #exit: boolean
  readonly #logger: Logger
  readonly #clock: Clock
  readonly #done = Promise.withResolvers<void>()

  constructor(options: CloseOnSignalsOptions) {
    const elections = requireList('closeOnSignals.elections', options.elections ?? [])
    const after = requireList('closeOnSignals.after', options.after ?? [])
    const first = elections.map((part, index) => closing(`closeOnSignals.elections[${index}]`, part))
    this.#steps = [first, ...after.map((part, index) => [closing(`closeOnSignals.after[${index}]`, part)])]
    this.#ending = after.flatMap((part) => (endsBySignal(part) ? [part] : []))
    this.#signals = requireList('closeOnSignals.signals', options.signals ?? ['SIGTERM', 'SIGINT'])
    this.#timeoutMs = requireInteger('closeOnSignals.timeoutMs', options.timeoutMs ?? 30 * SECOND, 1)
    this.#exit = options.exit ?? true
    const { logger, clock } = resolveRuntime('closeOnSignals', options)
    this.#logger = logger
    this.#clock = clock
    try {
      ours.add(this.#onSignal)
      for (const signal of this.#signals) listen(signal, this.#onSignal)
    } catch (error) {
      this.stop()
      throw error
    }
  }

  get closed(): Promise<void> {
    return this.#done.promise
  }

  stop(): void {
    for (const signal of this.#signals) process.removeListener(signal, this.#onSignal)
  }

  [Symbol.dispose](): void {
    this.stop()
  }

  readonly #onSignal = (signal: NodeJS.Signals): void => {
    // Checked now: a listener added by `once` is no longer counted after the parts have closed.
    const isAlone = process.listeners(signal).every((listener) => ours.has(listener))
    underWay.add(this)
    this.stop()
    void this.#shutDown(signal, isAlone)
  }

  async #shutDown(signal: NodeJS.Signals, isAlone: boolean): Promise<void> {
    this.#logger.info({ signal }, 'closing')
    for (const part of this.#ending) part[ENDS](signal, this.closed)
    const inTime = await finishesWithin(this.#clock, this.#timeoutMs, this.#closeAll())
    if (inTime) this.#logger.info({ signal }, 'closed')
    else this.#logger.error({ signal, timeoutMs: this.#timeoutMs }, 'not closed in time')
    this.#done.resolve()
    underWay.delete(this)
    if (this.#exit && isAlone && underWay.size === 0 && process.listenerCount(signal) === 0) endBy(signal)
  }

  async #closeAll(): Promise<void> {
    for (const step of this.#steps) await Promise.all(step.map((close) => this.#close(close)))
  }

  /** A failure does not keep the rest open. */
  async #close(close: () => unknown): Promise<void> {
    try {
      await close()
    } catch (error) {
      this.#logger.error({ err: error }, 'a part failed to close')
    }
  }
}

function endsBySignal(part: object): part is EndsBySignal {
  return ENDS in part
}

/**
 * Linux ignores a signal that the first process of a container sends to itself, so that process exits with the code of the
 * signal.
 */
function endBy(signal: NodeJS.Signals): void {
  if (process.pid === 1) process.exit(128 + constants.signals[signal])
  process.kill(process.pid, signal)
}

function listen(signal: NodeJS.Signals, listener: (signal: NodeJS.Signals) => void): void {
  const refused = invalidOption('closeOnSignals.signals', signal, 'signals that a process can catch, such as SIGTERM')
  // `process` would accept an unknown signal name as an event that never fires.
  if (!Object.hasOwn(constants.signals, signal)) throw refused
  try {
    // Before the listeners of others, which it counts.
    process.prependOnceListener(signal, listener)
  } catch {
    throw refused
  }
}

function requireList<T>(path: string, value: readonly T[]): readonly T[] {
  if (Array.isArray(value)) return value
  throw wrongKind(path, value, 'a list')
}

function closing(path: string, part: unknown): () => unknown {
  // A part may be a function with a `close`, like a console for Express: it is closed, not called.
  if (hasMethods(part, ['close'])) return () => part.close()
  if (typeof part === 'function') return part as () => unknown
  throw wrongKind(path, part, 'something with close(), or a function')
}
