import { isDeepStrictEqual } from 'node:util'
import { backoffDelayMs } from '../core/backoff.ts'
import { type Clock, SECOND } from '../core/clock.ts'
import { invalidOption, requireInteger, requireText, toError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import { hasMethods, optionNames, refuseUnknown, wrongKind } from '../core/option-checks.ts'
import { A_SCHEMA, type StandardSchemaV1 } from '../core/schema.ts'
import { within } from '../core/time-limit.ts'
import { tell } from '../core/unawaited-callbacks.ts'
import type { ConfigChange } from './built-in-events.ts'
import { BusError } from './errors.ts'
import { validateInTime } from './validate-with-timeout.ts'

/** A value with the number that orders its changes; an entry of a shared state (`state.get('rates')`) is assignable. */
export interface VersionedValue {
  readonly value: unknown
  readonly version: number
}

/** Options of `bus.config`. */
export interface ConfigOptions<S extends StandardSchemaV1> {
  /** Schema of every received value; one that does not fit is refused and the old one stays. */
  readonly schema: S
  /** Value until one was loaded or announced. */
  readonly initial: StandardSchemaV1.InferOutput<S>
  /**
   * Reads the value from its store, e.g. a shared state: when the bus starts, at `Refresh`, after a gap, and when a change is
   * announced without a version. `undefined`, or an entry without a value, means that there is none yet. Its versions must never
   * go back.
   */
  readonly load?: (() => VersionedValue | undefined | Promise<VersionedValue | undefined>) | undefined
  /** Time limit of `load`, and of a schema that returns a promise. @default 10 seconds */
  readonly loadTimeoutMs?: number | undefined
}

/** A config whose value changes. Read it where it is used, not once at the start. */
export interface WatchedConfig<T> {
  readonly name: string
  /** The newest valid value known to this instance. */
  readonly value: T
  /** 0: the initial value. Otherwise the version of its source, or the time of its event. */
  readonly version: number
  /** Calls `listener` after each change, in order; its errors are logged. Returns a function that stops it. */
  subscribe(listener: (value: T, version: number) => void): () => void
  /** Loads it now. @throws the error of `load`, SchemaError, `bus.schema_timeout`; the old value stays then */
  refresh(): Promise<void>
}

const NAMES = optionNames<ConfigOptions<StandardSchemaV1>>({
  schema: true,
  initial: true,
  load: true,
  loadTimeoutMs: true,
})

export class LiveConfig<T> implements WatchedConfig<T> {
  readonly name: string
  readonly #schema: StandardSchemaV1<unknown, T>
  readonly #load: ConfigOptions<StandardSchemaV1>['load']
  readonly #loadTimeoutMs: number
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #onLoadFailed: () => void
  readonly #listeners = new Set<(value: T, version: number) => void>()
  #value: T
  #version = 0
  /**
   * True if versions come from a source. Otherwise they come from clocks, and those of a source, which are smaller, take
   * precedence.
   */
  #hasSourceVersion = false
  /** The last requested load that has not begun, which later requests share. */
  #next: Promise<void> | undefined
  #loading: Promise<void> = Promise.resolve()
  #loadFailure: string | undefined

  /** @param onLoadFailed called after a failed load: the stored value may be newer than this one */
  constructor(
    name: string,
    options: ConfigOptions<StandardSchemaV1<unknown, T>>,
    { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
    onLoadFailed: () => void,
  ) {
    const path = `bus.config("${name}")`
    requireText('bus.config', name)
    if (name.length > 200) throw invalidOption('bus.config', name, 'a name of at most 200 characters')
    refuseUnknown(path, options, NAMES)
    if (!hasMethods(options.schema?.['~standard'], ['validate']))
      throw wrongKind(`${path}.schema`, options.schema, A_SCHEMA)
    if (!Object.hasOwn(options, 'initial')) throw invalidOption(`${path}.initial`, undefined, 'the value to begin with')
    if (options.load !== undefined && typeof options.load !== 'function')
      throw wrongKind(`${path}.load`, options.load, 'a function')
    this.name = name
    this.#schema = options.schema
    this.#value = options.initial
    this.#load = options.load
    this.#loadTimeoutMs = requireInteger(`${path}.loadTimeoutMs`, options.loadTimeoutMs ?? 10 * SECOND, 1)
    this.#clock = clock
    this.#logger = logger
    this.#onLoadFailed = onLoadFailed
    if (options.load !== undefined) this.#loadFailure = 'not loaded yet'
  }

  get value(): T {
    return this.#value
  }

  get version(): number {
    return this.#version
  }

  get canLoad(): boolean {
    return this.#load !== undefined
  }

  /** Reason why the value may be outdated. */
  get loadFailure(): string | undefined {
    return this.#loadFailure
  }

  subscribe(listener: (value: T, version: number) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Loads once at a time, and always after the call, because an earlier read may be outdated. */
  refresh(): Promise<void> {
    if (this.#load === undefined) return Promise.resolve()
    this.#next ??= this.#loading.then(() => {
      this.#next = undefined
      const loading = this.#read()
      this.#loading = loading.catch(() => {})
      return loading
    })
    return this.#next
  }

  /** Repeats a failed load until one succeeds. */
  async loadPatiently(signal: AbortSignal): Promise<void> {
    for (let attempt = 1; this.#loadFailure !== undefined; attempt++) {
      this.#logger.warn({ config: this.name, reason: this.#loadFailure }, 'bus: config not loaded, trying again')
      await this.#clock.sleep(backoffDelayMs(RELOAD, attempt, Math.random()), signal).catch(() => {})
      if (signal.aborted) return
      await this.refresh().catch(() => {})
    }
  }

  /**
   * @param time time of the event
   * @throws SchemaError, the error of `load`, `bus.control_refused`, also when the known value is newer; the old value stays then
   */
  async change({ value, version }: ConfigChange, time: number): Promise<void> {
    if (value !== undefined && version !== undefined) return this.#takeOrRefuse(value, version, true)
    if (this.canLoad) return this.refresh()
    if (value === undefined)
      throw new BusError('bus.control_refused', {
        message: `config "${this.name}" has no load option here: publish the value with the change`,
      })
    if (this.#hasSourceVersion) throw this.#versionMissing()
    return this.#takeOrRefuse(value, time, false)
  }

  /** Reports to the publisher of a change whether it applies: an older one fails, a repetition succeeds. */
  async #takeOrRefuse(value: unknown, version: number, fromSource: boolean): Promise<void> {
    const isRepeated = version === this.#version && isDeepStrictEqual(value, this.#value)
    if ((await this.#take(value, version, fromSource)) || isRepeated) return
    if (!fromSource && this.#hasSourceVersion) throw this.#versionMissing()
    const remedy = fromSource
      ? 'publish a version above it, from where the value is kept'
      : 'versions are times here, and a clock was ahead: correct it, or give `load` and publish versions'
    throw new BusError('bus.control_refused', {
      message: `config "${this.name}" keeps version ${this.#version}, and the change has ${version}: ${remedy}`,
    })
  }

  #versionMissing(): BusError {
    return new BusError('bus.control_refused', {
      message: `config "${this.name}" is at version ${this.#version}: publish a version with the change, from where it is kept`,
    })
  }

  async #read(): Promise<void> {
    try {
      const found = await within(this.#clock, this.#loadTimeoutMs, this.#callLoad(), TOO_LATE)
      if (found === TOO_LATE)
        throw new Error(`load of config "${this.name}" took longer than ${this.#loadTimeoutMs} ms`)
      if (found?.value !== undefined) {
        const version = requireInteger(`bus.config("${this.name}").load version`, found.version, 0)
        await this.#take(found.value, version, true)
      }
      this.#loadFailure = undefined
    } catch (error) {
      this.#loadFailure = toError(error).message
      this.#onLoadFailed()
      throw error
    }
  }

  async #callLoad(): Promise<VersionedValue | undefined> {
    return this.#load?.()
  }

  /** @returns false when the known value is newer, or of the same version */
  async #take(candidate: unknown, version: number, fromSource: boolean): Promise<boolean> {
    if (this.#isOld(version, fromSource)) return false
    const limit = { clock: this.#clock, timeoutMs: this.#loadTimeoutMs, option: 'loadTimeoutMs' }
    const value = await validateInTime(limit, `config "${this.name}"`, this.#schema, candidate)
    if (this.#isOld(version, fromSource)) return false
    this.#value = value
    this.#version = version
    this.#hasSourceVersion = fromSource
    for (const listener of Array.from(this.#listeners)) this.#tell(listener)
    return true
  }

  #isOld(version: number, fromSource: boolean): boolean {
    // A source's version may have arrived while the schema checked a value without one.
    if (this.#hasSourceVersion !== fromSource) return this.#hasSourceVersion
    return version <= this.#version
  }

  #tell(listener: (value: T, version: number) => void): void {
    tell(
      (value: T) => listener(value, this.#version),
      this.#value,
      (error) => this.#logger.error({ config: this.name, err: error }, 'bus: a listener of a config failed'),
    )
  }
}

const TOO_LATE = Symbol('too late')
const RELOAD = Object.freeze({ initialMs: 500, factor: 2, maxMs: 30 * SECOND, jitter: 0.5 })
