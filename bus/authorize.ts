import type { Clock } from '../core/clock.ts'
import { within } from '../core/time-limit.ts'
import { type Address, formatAddress } from './address.ts'
import { BusError } from './errors.ts'
import type { BusOptions } from './options.ts'

/** The `authorize` option. Anything other than a timely `true` means no. */
export class Authorization {
  readonly #authorize: BusOptions['authorize']
  readonly #clock: Clock
  readonly #timeoutMs: number

  constructor(authorize: BusOptions['authorize'], clock: Clock, timeoutMs: number) {
    this.#authorize = authorize
    this.#clock = clock
    this.#timeoutMs = timeoutMs
  }

  /** Returns the reason for a refusal. Never rejects. */
  async refusalOf(event: string, from: Address, to: string): Promise<BusError | undefined> {
    if (this.#authorize === undefined) return undefined
    const sender = formatAddress(from)
    try {
      const isAllowed = await within(this.#clock, this.#timeoutMs, this.#ask(event, from, to), TOO_LATE)
      if (isAllowed === TOO_LATE) throw new Error(`authorize took longer than ${this.#timeoutMs} ms`)
      return isAllowed === true ? undefined : new BusError('bus.forbidden', { event, from: sender, to })
    } catch (error) {
      return new BusError('bus.forbidden', { event, from: sender, to }, error)
    }
  }

  async #ask(event: string, from: Address, to: string): Promise<boolean | undefined> {
    return this.#authorize?.({ event, from, to })
  }
}

const TOO_LATE = Symbol('too late')
