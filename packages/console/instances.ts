/** The instances of all services, watched over the bus only while a page is open. */

import type { InstancesView, InstanceWatch, Operator } from '@concordat/cli'
import { type Clock, type Logger, SECOND } from 'concordat/core'
import { within } from 'concordat/extension'
import { Problem } from './problem.ts'

/** Ends the watch after this time without a request. */
const IDLE_MS = 20 * SECOND
/** A missing bus is not tried again at each view. */
const AGAIN_MS = 15 * SECOND
/** Time limit for closing: a server that does not respond keeps no process alive. The watch is closed once it has opened. */
const CLOSE_MS = 1 * SECOND

interface Failed {
  readonly error: unknown
  readonly at: number
}

export class ConsoleInstances {
  readonly #operator: Operator
  readonly #clock: Clock
  readonly #logger: Logger
  #watch: Promise<InstanceWatch> | undefined
  #failed: Failed | undefined
  #cancel: (() => void) | undefined

  constructor(operator: Operator, clock: Clock, logger: Logger) {
    this.#operator = operator
    this.#clock = clock
    this.#logger = logger
  }

  /** @throws Problem 503 while the bus is unavailable, and the errors of opening it */
  async view(): Promise<InstancesView> {
    return (await this.#opened()).view()
  }

  /** @throws Problem 404, and the errors of `view` */
  async bindingsOf(address: string) {
    const found = (await this.#opened()).bindingsOf(address)
    if (found === undefined) throw new Problem(404, 'console.not_found', 'this instance has not reported')
    return found
  }

  /** Resolves within a second. */
  async close(): Promise<void> {
    this.#cancel?.()
    const watch = this.#watch
    this.#watch = undefined
    const closed = watch?.then(
      (opened) => opened.close(),
      () => undefined,
    )
    await (closed && within(this.#clock, CLOSE_MS, closed, undefined))
  }

  async #opened(): Promise<InstanceWatch> {
    const now = this.#clock.monotonic()
    if (this.#failed !== undefined && now - this.#failed.at < AGAIN_MS) throw this.#failed.error
    this.#failed = undefined
    this.#cancel?.()
    this.#cancel = this.#clock.setTimer(IDLE_MS, () => void this.close())
    const watch = await (this.#watch ?? this.#begin())
    const trouble = watch.trouble()
    if (trouble !== undefined) throw new Problem(503, 'console.away', 'the bus is not reached now')
    return watch
  }

  /** Removed when it fails, unless another one has replaced it. */
  #begin(): Promise<InstanceWatch> {
    const opening = this.#open()
    this.#watch = opening
    opening.catch(() => {
      if (this.#watch === opening) this.#watch = undefined
    })
    return opening
  }

  async #open(): Promise<InstanceWatch> {
    try {
      return await this.#operator.bus.watch()
    } catch (error) {
      const told = isNoBus(error) ? new Problem(409, 'console.bus_missing', 'no instance has joined a bus here') : error
      this.#logger.debug({ err: error }, 'the console cannot watch the instances')
      this.#failed = { error: told, at: this.#clock.monotonic() }
      throw told
    }
  }
}

/** The bus's channels do not exist: no bus was ever started. */
function isNoBus(error: unknown): boolean {
  const { code, kind } = (error ?? {}) as { readonly code?: unknown; readonly kind?: unknown }
  return code === 'binder.transport' && kind !== 'unavailable' && kind !== 'timeout'
}
