import type { Binder } from '../binder/binder.ts'
import type { BindingStatus } from '../binder/status.ts'
import { type Clock, SECOND } from '../core/clock.ts'
import { hasMethods, wrongKind } from '../core/option-checks.ts'
import type { ReadyOptions } from './bus.ts'
import { BusError } from './errors.ts'

const POLL_MS = 20
const READY_MS = 30 * SECOND

/** The names of the bus's bindings. */
export interface BusBindings {
  readonly events: string
  readonly acks: string
  /** Undefined if the members come from another source. */
  readonly presence: string | undefined
}

/** The bus's bindings in a binder, and which of them run. */
export class BinderAttachment {
  readonly #names: BusBindings
  readonly #clock: Clock
  #binder: Binder | undefined

  constructor(names: BusBindings, clock: Clock) {
    this.#names = names
    this.#clock = clock
  }

  /** @throws TypeError when it is not a binder, or lacks the bus's bindings */
  attach(binder: Binder): void {
    const remedy = 'a binder made with bindings: [..., ...bus.bindings] and sends: [..., ...bus.channels]'
    if (!hasMethods(binder, ['send', 'binding', 'bindings', 'health'])) throw wrongKind('bus.start', binder, remedy)
    const names = new Set(binder.bindings().map(({ name }) => name))
    for (const name of this.#all)
      if (!names.has(name)) throw new TypeError(`bus.start: the binder lacks "${name}": expected ${remedy}`)
    this.#binder = binder
  }

  /** @throws `bus.closed` before `attach` */
  get binder(): Binder {
    if (this.#binder === undefined) throw new BusError('bus.closed', { state: 'not started' })
    return this.#binder
  }

  /** Reason why events, or presence, do not arrive at the moment. */
  get trouble(): string | undefined {
    const [first] = this.#unheard([this.#names.events, this.#names.presence])
    return first
  }

  /** Reason why the broker cannot be reached, from the transport. Its subscriptions may wait for it indefinitely. */
  get away(): string | undefined {
    const transport = this.#binder?.health().transport
    return transport?.status === 'down' ? (transport.detail ?? 'the transport is down') : undefined
  }

  /** Same as `trouble`, or else the reason why answers do not arrive. */
  get troubleWithAnswers(): string | undefined {
    const [first] = this.#unheard(this.#all)
    return first
  }

  /** Increases when the events channel was subscribed again. */
  get subscribed(): number {
    return this.#status(this.#names.events)?.subscribed ?? 0
  }

  /** @throws `bus.not_ready`, the reason of the signal */
  async listening(options: Omit<ReadyOptions, 'acks'>): Promise<void> {
    await this.#until(() => this.#unheard([this.#names.events, this.#names.presence]), options)
  }

  /** Starts to read the answers, unless it already does. @throws `bus.not_ready`, the reason of the signal */
  async listeningForAnswers(options: Omit<ReadyOptions, 'acks'>): Promise<void> {
    const control = this.binder.binding(this.#names.acks)
    if (control.status().state === 'stopped') await control.start()
    await this.#until(() => this.#waiting([this.#names.acks]), options)
  }

  get #all(): readonly string[] {
    return [this.#names.events, this.#names.acks, this.#names.presence].filter((name) => name !== undefined)
  }

  /** Returns the bindings of the binder except the bus's own. */
  others(): readonly BindingStatus[] {
    const own = new Set(this.#all)
    return (this.#binder?.bindings() ?? []).filter(({ name }) => !own.has(name))
  }

  #status(name: string): BindingStatus | undefined {
    return this.#binder?.bindings().find((binding) => binding.name === name)
  }

  /** Returns bindings that do not run. */
  #waiting(names: readonly (string | undefined)[]): string[] {
    return names.flatMap((name) => {
      const status = name === undefined ? undefined : this.#status(name)
      if (status === undefined || status.state === 'running') return []
      return [`${status.name} is ${status.state}${status.error === undefined ? '' : ` (${status.error})`}`]
    })
  }

  /** Returns bindings that do not run, and those that receive nothing for a while: behind another producer's transaction. */
  #unheard(names: readonly (string | undefined)[]): string[] {
    const blocked = names.flatMap((name) => {
      const status = name === undefined ? undefined : this.#status(name)
      return status?.state === 'running' && status.error !== undefined ? [`${status.name}: ${status.error}`] : []
    })
    return [...this.#waiting(names), ...blocked]
  }

  async #until(waitingNow: () => string[], options: Omit<ReadyOptions, 'acks'>): Promise<void> {
    const { timeoutMs = READY_MS, signal } = options
    const deadline = this.#clock.monotonic() + timeoutMs
    for (;;) {
      const waiting = waitingNow()
      if (waiting.length === 0) return
      if (this.#clock.monotonic() >= deadline) throw new BusError('bus.not_ready', { waiting })
      await this.#clock.sleep(POLL_MS, signal)
    }
  }
}
