import type { Binder } from '../binder/binder.ts'
import type { Channel } from '../binder/channel/channel.ts'
import type { SendOptions } from '../binder/channel/message-codec.ts'
import type { Bus } from '../bus/bus.ts'
import { SECOND, systemClock } from '../core/clock.ts'
import { requireMayStart } from '../core/declarations-only.ts'
import { requireInteger } from '../core/errors.ts'
import { optionNames, refuseUnknown, wrongKind } from '../core/option-checks.ts'
import type { SqlTransaction } from '../core/sql.ts'
import { finishesWithin, unlessAborted } from '../core/time-limit.ts'
import type { Membership } from '../election/cluster/membership/membership.ts'
import type { SharedState } from '../election/cluster/state/state.ts'
import type { Election } from '../election/leader/election.ts'
import type { Schedule } from '../election/schedule/schedule-types.ts'
import type { Locks } from '../locks/lock.ts'
import type { SqlInbox } from '../outbox/inbox.ts'
import type { Outbox } from '../outbox/outbox.ts'
import type { Relay } from '../outbox/relay.ts'
import { sendingThrough } from '../outbox/transaction-with-send.ts'
import type { Coordinator } from '../saga/coordinator/coordinator.ts'
import type { GlobalTransaction } from '../saga/coordinator/global-transaction.ts'
import type { SagaRun } from '../saga/coordinator/saga-run.ts'
import type { StartOptions } from '../saga/coordinator/starter.ts'
import type { GlobalTransactionRunOptions } from '../saga/coordinator/transaction-propagation.ts'
import type { Saga } from '../saga/definition/saga-definition-types.ts'
import type { GlobalTransactionDefinition } from '../saga/global/definition.ts'
import type { Stored } from '../saga/json.ts'
import type { AnyHeaders } from '../saga/wire/transaction-header.ts'
import { closeOnSignals, ENDS, type EndsBySignal } from './close-on-signals.ts'
import { ServiceClosed, ServiceNotReady } from './errors.ts'
import { composeHealth, type PartHealth, type ServiceHealth, type ServiceState, waitingFor } from './health.ts'
import { type ResolvedService, resolveService } from './options.ts'
import type {
  CloseOptions,
  Service,
  ServiceDeclaration,
  ServiceOptions,
  ServiceTransaction,
  StateOptions,
} from './service.ts'
import { makeParts, type Parts } from './service-parts.ts'
import { SharedStates } from './shared-states.ts'
import { startSteps } from './starting.ts'

// oxlint-disable-next-line unicorn/no-thenable -- names of options, never awaited
const CLOSE_NAMES = optionNames<CloseOptions>({ then: true, timeoutMs: true, signals: true, exit: true })

/**
 * Creates a service. Nothing is connected before `start`.
 * @throws TypeError / RangeError naming the option of the service or of its part
 */
export function createService<Sent extends string = never>(options: ServiceOptions<Sent>): Service<Sent> {
  return new AssembledService(resolveService(options))
}

class AssembledService implements Service, EndsBySignal {
  readonly name: string
  readonly instance: string
  readonly #options: ResolvedService
  readonly #parts: Parts
  readonly #states: SharedStates
  #state: ServiceState = 'idle'
  readonly #givenUp = new AbortController()
  #starting: Promise<void> | undefined
  /** The steps of the start alone. */
  #beginning: Promise<void> | undefined
  #ending: { readonly signal: NodeJS.Signals; readonly closed: Promise<void> } | undefined
  #closed: Promise<void> | undefined

  constructor(options: ResolvedService) {
    this.#options = options
    this.name = options.identity.service
    this.instance = options.identity.instance
    this.#parts = makeParts(options)
    this.#states = new SharedStates(options)
  }

  get binder(): Binder {
    return this.#parts.binder
  }
  get outbox(): Outbox | undefined {
    return this.#parts.stored?.outbox
  }
  get inbox(): SqlInbox | undefined {
    return this.#parts.stored?.inbox
  }
  get relay(): Relay | undefined {
    return this.#parts.stored?.relay
  }
  get coordinator(): Coordinator | undefined {
    return this.#parts.stored?.coordinator
  }
  get locks(): Locks | undefined {
    return this.#parts.locks
  }
  get bus(): Bus | undefined {
    return this.#parts.bus
  }
  get elections(): Readonly<Record<string, Election>> {
    return this.#parts.elections
  }
  get schedules(): Readonly<Record<string, Schedule>> {
    return this.#parts.schedules
  }
  get membership(): Membership | undefined {
    return this.#parts.membership
  }

  describe(): ServiceDeclaration {
    const { name, bindings, sends, sagas, leads, schedules, cluster, parts } = this.#options
    return Object.freeze({ name, bindings, sends, sagas, leads, schedules, cluster, parts })
  }

  sharedState<Out = unknown, In = Out>(name: string, options?: StateOptions<Out, In>): SharedState<Out, In> {
    // Handlers and steps that run while the service closes still use it.
    if (this.#state === 'closed') throw new ServiceClosed(this.name)
    return this.#states.named(name, options)
  }

  start(): Promise<void> {
    const started = this.#starting
    // A start that failed throws its error again; one that succeeded has ended.
    if (started !== undefined && this.#isClosing())
      return started.then(() => {
        throw new ServiceClosed(this.name)
      })
    this.#starting ??= this.#start()
    return this.#starting
  }

  async #start(): Promise<void> {
    requireMayStart(`${this.name}.start`)
    try {
      this.#requireOpen()
      this.#state = 'starting'
      this.#beginning = this.#begin()
      await unlessAborted(this.#givenUp.signal, this.#beginning)
    } catch (error) {
      const isTold = this.#closed !== undefined
      await this.close()
      throw isTold ? await this.#toldToClose('start', error) : error
    }
    this.#state = 'running'
    this.#options.identity.logger.info({ parts: Object.keys(this.#health()) }, 'service started')
  }

  async #begin(): Promise<void> {
    for (const step of startSteps(this.#options, this.#parts)) {
      await step()
      this.#requireOpen()
    }
  }

  /** A process that ends by a signal has no caller left to report to: an error would only end it sooner, with a stack trace. */
  async #toldToClose(call: string, cause?: unknown): Promise<ServiceClosed> {
    if (this.#ending !== undefined) {
      const { signal, closed } = this.#ending
      const fields = cause instanceof ServiceClosed ? { signal } : { signal, err: cause }
      this.#options.identity.logger.warn(fields, `${call}() is given up: the process was told to end`)
      await closed
    }
    return cause instanceof ServiceClosed ? cause : new ServiceClosed(this.name, cause)
  }

  [ENDS](signal: NodeJS.Signals, closed: Promise<void>): void {
    this.#ending = { signal, closed }
  }

  async ready(options: { timeoutMs?: number | undefined; signal?: AbortSignal | undefined } = {}): Promise<void> {
    const timeoutMs = requireInteger('ready.timeoutMs', options.timeoutMs ?? 30 * SECOND, 0)
    const deadline = systemClock.monotonic() + timeoutMs
    for (;;) {
      if (this.#isClosing()) throw await this.#toldToClose('ready')
      const health = this.health()
      if (health.ready) return
      if (systemClock.monotonic() >= deadline) {
        throw new ServiceNotReady(this.name, this.#state, waitingFor(health, this.#options.readiness))
      }
      await systemClock.sleep(20, options.signal)
    }
  }

  async send<In, Out>(
    channel: Channel<In, Out>,
    payload: NoInfer<In>,
    options?: SendOptions,
  ): Promise<{ readonly id: string }> {
    return this.#parts.binder.send<In, Out>(channel, payload, options)
  }

  async run<In, Out, Results extends object>(
    saga: Saga<In, Out, Results>,
    options: StartOptions<In>,
  ): Promise<SagaRun<Results>> {
    return this.#needed('run', 'sagas', this.coordinator).start(saga, options)
  }

  async globalTransaction<In, Out, Result>(
    definition: GlobalTransactionDefinition<In, Out>,
    options: GlobalTransactionRunOptions<In>,
    code: (global: GlobalTransaction) => Result | Promise<Result>,
  ): Promise<Stored<Result>> {
    return this.#needed('globalTransaction', 'sagas', this.coordinator).globalTransaction(definition, options, code)
  }

  async inheritTransaction<T>(headers: AnyHeaders, work: () => T | Promise<T>): Promise<T> {
    return this.#needed('inheritTransaction', 'sagas', this.coordinator).inheritTransaction(headers, work)
  }

  async transaction<T>(work: (tx: ServiceTransaction) => Promise<T>): Promise<T> {
    const { sql } = this.#needed('transaction', 'sql', this.#parts.stored)
    // Handlers and steps that run while the service closes still commit.
    if (this.#state === 'closed') throw new ServiceClosed(this.name)
    return sql.transaction((tx) => work(this.#extended(tx)))
  }

  #extended(tx: SqlTransaction): ServiceTransaction {
    const { outbox } = this.#needed('transaction', 'sql', this.#parts.stored)
    return {
      ...sendingThrough(outbox, tx, 'createService({ sql })'),
      start: (saga, options) => this.#needed('tx.start', 'sagas', this.coordinator).start(tx, saga, options),
    }
  }

  health(): ServiceHealth {
    return composeHealth(this.#state, this.#health(), this.#options.readiness)
  }

  #health(): Readonly<Record<string, PartHealth>> {
    const { binder, stored, locks, bus, elections, schedules, membership } = this.#parts
    const leads = Object.entries(elections).map(([role, election]) => [`leads ${role}`, election.health()] as const)
    const jobs = Object.entries(schedules).map(([role, schedule]) => [`schedule ${role}`, schedule.health()] as const)
    const parts = {
      relay: stored?.relay,
      coordinator: stored?.coordinator,
      prepared: stored?.prepared,
      locks,
      bus,
      membership,
    }
    const others = Object.entries(parts).flatMap(([name, part]) => (part ? [[name, part.health()] as const] : []))
    return Object.fromEntries<PartHealth>([['binder', binder.health()], ...others, ...leads, ...jobs])
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  /**
   * Closes leaderships first, while the parts that they use are open. Then handlers, while the parts that they use are open: the
   * relay still publishes their last messages, through the same transport, so the relay closes before the binder.
   */
  async #close(): Promise<void> {
    this.#state = 'closing'
    // First waits for a running step of the start, so that nothing closed is opened again or used.
    await finishesWithin(systemClock, this.#options.drainTimeoutMs, this.#beginning?.catch(noop) ?? Promise.resolve())
    const { binder, stored, locks, bus, elections, schedules, membership } = this.#parts
    await Promise.all(Object.values(schedules).map((schedule) => this.#closePart('schedule', schedule)))
    await Promise.all(Object.values(elections).map((election) => this.#closePart('leadership', election)))
    await this.#closePart('membership', membership)
    await this.#closePart('bindings', { close: () => this.#stopIntake() })
    await this.#closePart('coordinator', stored?.coordinator)
    await this.#closePart('relay', stored?.relay)
    await this.#closePart('bus', bus)
    await this.#closePart('binder', binder)
    await this.#closePart('inbox', stored?.inbox)
    await this.#closePart('prepared', stored?.prepared)
    await this.#states.close()
    // Before the locks, which close an embedded database: a probe of the store would open it again.
    await this.#closePart('cluster', this.#options.cluster?.store)
    await this.#closePart('locks', locks)
    this.#state = 'closed'
    this.#givenUp.abort(new ServiceClosed(this.name))
  }

  /** Waits for running handlers. Replies of sagas and requests, and bus messages, still arrive. */
  async #stopIntake(): Promise<void> {
    const { binder, intake } = this.#parts
    await Promise.all(intake.map((name) => binder.binding(name).stop()))
  }

  async #closePart(part: string, closable: { close(): unknown } | undefined): Promise<void> {
    try {
      await closable?.close()
    } catch (error) {
      this.#options.identity.logger.error({ err: error, part }, 'a part failed to close')
    }
  }

  closeOnSignals(options: CloseOptions = {}): Promise<void> {
    refuseUnknown('service.closeOnSignals', options, CLOSE_NAMES)
    const { then = [], ...rest } = options
    const { logger } = this.#options.identity
    return closeOnSignals({ after: [this, ...then], ...rest, logger }).closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #requireOpen(): void {
    if (this.#isClosing()) throw new ServiceClosed(this.name)
  }

  #isClosing(): boolean {
    return this.#state === 'closing' || this.#state === 'closed'
  }

  #needed<Part>(call: string, option: string, part: Part | undefined): Part {
    if (part !== undefined) return part
    throw wrongKind(`${this.name}.${call}`, undefined, `a service with ${option}: createService({ ${option} })`)
  }
}

function noop(): void {}
