import { lastingContext } from '../core/async-contexts.ts'
import type { Clock } from '../core/clock.ts'
import { invalidOption } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import type { StandardSchemaV1 } from '../core/schema.ts'
import { type ConfigOptions, LiveConfig, type WatchedConfig } from './watched-config.ts'

/** All watched configs of an instance. */
export class WatchedConfigs {
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #all = new Map<string, LiveConfig<unknown>>()
  readonly #closing = new AbortController()
  /** Configs that are loaded again until they succeed. */
  readonly #failing = new Set<LiveConfig<unknown>>()
  #started = false

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock
    this.#logger = logger
  }

  get all(): ReadonlyMap<string, LiveConfig<unknown>> {
    return this.#all
  }

  /** Problem of the first config that may have an outdated value. */
  get trouble(): string | undefined {
    for (const { name, loadFailure } of this.#all.values())
      if (loadFailure !== undefined) return `config "${name}": ${loadFailure}`
    return undefined
  }

  /** A config added after the start is loaded at once. @throws TypeError / RangeError */
  add<S extends StandardSchemaV1>(
    name: string,
    options: ConfigOptions<S>,
  ): WatchedConfig<StandardSchemaV1.InferOutput<S>> {
    const onLoadFailed = (): void => void this.#retry(config as unknown as LiveConfig<unknown>)
    const parts = { clock: this.#clock, logger: this.#logger }
    const config = new LiveConfig<StandardSchemaV1.InferOutput<S>>(name, options as never, parts, onLoadFailed)
    if (this.#all.has(name)) throw invalidOption('bus.config', name, 'each config declared once')
    this.#all.set(name, config as unknown as LiveConfig<unknown>)
    if (this.#started) void this.#loadOnce(config as unknown as LiveConfig<unknown>)
    return config
  }

  /** Resolves after one attempt for each; failed ones continue in the background. */
  async start(): Promise<void> {
    this.#started = true
    await Promise.all(Array.from(this.#all.values(), (config) => this.#loadOnce(config)))
  }

  /** Loads all again, because events may have been missed. Never rejects. */
  async reload(): Promise<void> {
    await this.start()
  }

  close(): void {
    this.#closing.abort()
  }

  async #loadOnce(config: LiveConfig<unknown>): Promise<void> {
    // A failing config retries by itself.
    if (config.canLoad) await lastingContext()(() => config.refresh()).catch(() => {})
  }

  async #retry(config: LiveConfig<unknown>): Promise<void> {
    if (!this.#started || this.#failing.has(config)) return
    this.#failing.add(config)
    const { signal } = this.#closing
    const inContext = lastingContext()
    while (config.loadFailure !== undefined && !signal.aborted) await inContext(() => config.loadPatiently(signal))
    this.#failing.delete(config)
  }
}
