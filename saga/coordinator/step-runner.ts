/** Runs one local step: secures the lease, opens the transaction if there is one, calls the step, and writes the outcome. */
import { type Backoff, backoffDelayMs } from '../../core/backoff.ts'
import { MINUTE, SECOND } from '../../core/clock.ts'
import { toError } from '../../core/errors.ts'
import { traceFields } from '../../core/telemetry-interface.ts'
import { BusyTries } from '../../core/transaction-retries.ts'
import { isClosed } from '../../core/write-fault.ts'
import type { SagaEvent } from '../machine/event.ts'
import type { Call } from '../machine/state.ts'
import type { Applied } from './apply-event-types.ts'
import type { EventApplier } from './event-applier.ts'
import type { HeldLease, Leases } from './leases.ts'
import { isOther, type LoadedSaga } from './loaded-saga.ts'
import { failedEvent } from './outcome-to-event.ts'
import type { CoordinatorRuntime } from './runtime.ts'
import { isNotOurs, isOwnershipLost, StepFunctionCalls } from './step-function-calls.ts'
import { traceOf } from './telemetry.ts'
import { type StepDone, TransactionalStepCalls } from './transactional-step-calls.ts'

/** Chains of calls that steps belong to. */
export interface Chains {
  /** True: no further step begins here. */
  readonly isClosing: boolean
  /** Gives the slot of a chain to others during a pause. */
  aside(lease: HeldLease, pause: () => Promise<void>): Promise<void>
}

type Outcome = Extract<SagaEvent, { type: 'succeeded' | 'refused' | 'failed' | 'yielded' }>

/** Maximum number of times that a result is written before the saga is left to its lease. */
const MAX_WRITES = 8
/** Pauses between attempts to begin a transaction while no connection is available. */
const BEGIN_BACKOFF: Backoff = { initialMs: 100, factor: 2, maxMs: 5 * SECOND, jitter: 0.5 }
/** Pause after a step that met a closed part, before it is tried again: usually by the process that replaces this one. */
const CLOSED_PAUSE_MS = 1 * SECOND
/** A process that closes its parts ends within this. One that does not has closed too much: attempts count. */
const ENDS_WITHIN_MS = 1 * MINUTE
const WRITE_BACKOFF: Backoff = { initialMs: 100, factor: 2, maxMs: 2 * SECOND, jitter: 0.2 }

export class StepRunner {
  readonly #runtime: CoordinatorRuntime
  readonly #applier: EventApplier
  readonly #leases: Leases
  readonly #chains: Chains
  readonly #functionCalls: StepFunctionCalls
  readonly #transactions: TransactionalStepCalls
  /** Monotonic time at which a step first met a closed part. */
  #closedSince: number | undefined

  constructor(runtime: CoordinatorRuntime, applier: EventApplier, leases: Leases, chains: Chains) {
    this.#runtime = runtime
    this.#applier = applier
    this.#leases = leases
    this.#chains = chains
    this.#functionCalls = new StepFunctionCalls(runtime, leases)
    this.#transactions = new TransactionalStepCalls(runtime, applier.planner)
  }

  /** Lets all through that wait for a transaction; they call nothing. */
  open(): void {
    this.#transactions.open()
  }

  /**
   * @param latest the saga after the outcomes of the other calls
   * @returns the saga after the call; `undefined` when it no longer exists
   */
  async run(current: LoadedSaga, call: Call, lease: HeldLease, latest = () => current): Promise<Applied | undefined> {
    if (this.#chains.isClosing) return this.#record(latest(), { type: 'yielded', step: call.step }, lease)
    // After a blocked event loop most leases are still held, which a renewal confirms; `StepFunctionCalls` checks the clocks
    // again.
    if (!this.#leases.isCertain(lease)) await this.#leases.secure(lease)
    const { transactional, inTransaction } = current.saga.steps[call.index] ?? {}
    return (inTransaction ?? transactional) === true
      ? this.#transactional(current, call, lease)
      : this.#plain(current, call, lease, latest)
  }

  /** Runs a plain step: the intent is committed; now the effect, then its outcome. */
  async #plain(
    current: LoadedSaga,
    call: Call,
    lease: HeldLease,
    latest: () => LoadedSaga,
  ): Promise<Applied | undefined> {
    const { step, operation } = call
    let event: Outcome
    try {
      event = { type: 'succeeded', step, operation, result: await this.#functionCalls.make(current, call, lease) }
    } catch (error) {
      event = await this.#failed(current, call, lease, error)
    }
    const branches = this.#runtime.runningTransactions.get(current.row)?.branches()
    if (branches === undefined || event.type === 'yielded') return this.#record(latest(), event, lease)
    return this.#record(latest(), { ...event, branches }, lease)
  }

  /**
   * Commits effect and outcome together. Uses at most `transactions` connections of the pool, leaving the others for renewals and
   * plain writes. If the transaction cannot begin, this is not an attempt, because the step was not called.
   */
  async #transactional(current: LoadedSaga, call: Call, lease: HeldLease): Promise<Applied | undefined> {
    for (let tries = 1; ; tries++) {
      const done = await this.#inTransaction(current, call, lease)
      if (!('notBegun' in done)) return done.applied
      if (lease.signal.aborted) throw toError(lease.signal.reason)
      const fields = { saga: lease.name, id: lease.id, step: call.step, err: done.notBegun }
      this.#runtime.logger.warn(fields, 'the transaction of a saga step did not begin, trying again')
      await this.#runtime.clock.sleep(backoffDelayMs(BEGIN_BACKOFF, tries, Math.random()), lease.signal)
    }
  }

  async #inTransaction(
    current: LoadedSaga,
    call: Call,
    lease: HeldLease,
  ): Promise<{ readonly applied: Applied | undefined } | { readonly notBegun: Error }> {
    const { step, operation } = call
    const yielded = { type: 'yielded', step } as const
    if (this.#chains.isClosing) return { applied: await this.#record(current, yielded, lease) }
    const busy = new BusyTries(this.#runtime.clock, lease.signal)
    let done: StepDone | undefined
    while (done === undefined) {
      try {
        done = await this.#transactions.run(current, call, async (tx) => {
          if (this.#chains.isClosing) return undefined
          const result = await this.#functionCalls.make(current, call, lease, tx)
          return { type: 'succeeded', step, operation, result }
        })
      } catch (error) {
        if (await busy.wait(error, (pause) => this.#chains.aside(lease, pause))) continue
        const event = await this.#failed(current, call, lease, error)
        return { applied: await this.#record(current, busy.made > 0 ? afterBusy(current, call, event) : event, lease) }
      }
    }
    if ('notBegun' in done) return { notBegun: toError(done.notBegun) }
    if (done.plan === undefined) return { applied: await this.#record(current, yielded, lease) }
    this.#applier.committed(done.plan)
    return { applied: { snapshot: done.plan.next, changed: true, heard: true } }
  }

  /** @throws loss of ownership, or closing of this coordinator: neither is an outcome of the step */
  async #failed(current: LoadedSaga, call: Call, lease: HeldLease, error: unknown): Promise<Outcome> {
    if (lease.signal.aborted) throw toError(lease.signal.reason)
    if (isNotOurs(error)) throw error
    const { step, operation, attempt: tried } = call
    const { code, transactional } = current.saga.steps[call.index] ?? {}
    if (isClosed(error) && code !== true && this.#isEnding()) {
      await this.#metClosedPart(call, lease, error)
      return { type: 'yielded', step, ...(transactional === true ? {} : { sent: true }) }
    }
    const fields = { saga: lease.name, id: lease.id, step, operation, attempt: tried }
    const trace = traceFields(traceOf(current.row))
    const event = failedEvent(step, operation, tried, error)
    // A refusal is an expected answer: no stack, no warning.
    if (event.type === 'refused' && operation === 'invoke') {
      const { code, message: reason } = event.error
      this.#runtime.logger.info({ ...fields, ...trace, code, reason }, 'saga step refused')
    } else this.#runtime.logger.warn({ ...fields, ...trace, err: toError(error) }, 'saga step failed')
    return event
  }

  /** Called when a part was closed in this process, usually because the process ends. */
  #isEnding(): boolean {
    const now = this.#runtime.clock.monotonic()
    this.#closedSince ??= now
    return this.#chains.isClosing || now - this.#closedSince < ENDS_WITHIN_MS
  }

  /** A part that was closed in this process says nothing about the step, so this is no attempt. */
  async #metClosedPart({ step, operation }: Call, lease: HeldLease, error: unknown): Promise<void> {
    const { logger, clock } = this.#runtime
    const fields = { saga: lease.name, id: lease.id, step, operation, err: toError(error) }
    logger.warn(fields, 'a part that the saga step uses is closed, which is no attempt: it is tried again')
    if (!this.#chains.isClosing) await this.#chains.aside(lease, () => clock.sleep(CLOSED_PAUSE_MS, lease.signal))
  }

  /**
   * Writes an outcome, repeatedly while the database does not answer and the lease lasts.
   * @returns `undefined` when the database lost the saga, and may have another one under its id
   */
  async #record(snapshot: LoadedSaga, event: SagaEvent, lease: HeldLease): Promise<Applied | undefined> {
    const { clock, logger } = this.#runtime
    for (let tries = 1; ; tries++) {
      try {
        const { birth } = snapshot.row
        const applied = await this.#applier.apply(lease, event, { snapshot, epoch: lease.epoch, birth })
        return applied !== undefined && isOther(applied.snapshot.row, birth) ? undefined : applied
      } catch (error) {
        if (isOwnershipLost(error) || tries === MAX_WRITES) throw error
        logger.warn({ saga: lease.name, id: lease.id, err: toError(error) }, 'saga outcome not written, trying again')
        await clock.sleep(backoffDelayMs(WRITE_BACKOFF, tries, Math.random()), lease.signal)
      }
    }
  }
}

/**
 * A refusal after an attempt that was rolled back proves nothing about the effects of that attempt outside of its transaction.
 */
function afterBusy({ saga }: LoadedSaga, { index }: Call, event: Outcome): Outcome {
  if (event.type !== 'refused' || saga.steps[index]?.transactional === true) return event
  const { step, operation, error } = event
  return { type: 'failed', step, operation, error, terminal: true }
}
