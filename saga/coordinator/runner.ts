/**
 * Makes the local calls of the sagas that this process owns. A chain of local steps runs through without waiting for a
 * poll; at most `concurrency` chains run at once, the others wait in line with their leases renewed.
 */
import { lastingContext } from '../../core/ambient.ts'
import { type Backoff, backoffDelayMs } from '../../core/backoff.ts'
import { BusyTries } from '../../core/busy.ts'
import { SECOND } from '../../core/clock.ts'
import { toError } from '../../core/errors.ts'
import { traceFields } from '../../core/telemetry.ts'
import { finishesWithin } from '../../core/time-limit.ts'
import { SagaError } from '../errors.ts'
import type { SagaEvent } from '../machine/event.ts'
import { type Call, localCalls } from '../machine/state.ts'
import { isNotOurs, isOwnershipLost, StepAttempts } from './attempt.ts'
import type { Engine } from './engine.ts'
import type { HeldLease, Leases } from './leases.ts'
import { failedEvent, isUnreadable } from './outcome.ts'
import type { Snapshot } from './plan.ts'
import { type Room, takesRoom } from './room.ts'
import type { CoordinatorRuntime } from './runtime.ts'
import { cacheKey } from './snapshot.ts'
import { type StepDone, StepTransactions } from './step-transactions.ts'
import { traceOf } from './telemetry.ts'

/** How often a result that the database would not take is written again before the saga is left to its lease. */
const MAX_WRITES = 8
/** Between attempts to begin a transaction, while the database or its pool has no connection. */
const BEGIN_BACKOFF: Backoff = { initialMs: 100, factor: 2, maxMs: 5 * SECOND, jitter: 0.5 }
const WRITE_BACKOFF: Backoff = { initialMs: 100, factor: 2, maxMs: 2 * SECOND, jitter: 0.2 }

export class Runner {
  readonly room: Room
  readonly #runtime: CoordinatorRuntime
  readonly #engine: Engine
  readonly #leases: Leases
  readonly #attempts: StepAttempts
  readonly #line: Array<() => void> = []
  readonly #chains = new Set<Promise<void>>()
  /** Context of the coordinator's creation, not of a saga's starter or a reply's handler, whose locks are not the saga's. */
  readonly #outside: <T>(work: () => T) => T = lastingContext()
  readonly #transactions: StepTransactions
  #running = 0

  constructor(runtime: CoordinatorRuntime, engine: Engine, leases: Leases, room: Room) {
    this.#runtime = runtime
    this.#engine = engine
    this.#leases = leases
    this.room = room
    this.#attempts = new StepAttempts(runtime, leases)
    this.#transactions = new StepTransactions(runtime, engine.planner)
  }

  /** Runs a saga whose snapshot says that this instance owns it for a local call; otherwise does nothing. */
  take(snapshot: Snapshot): void {
    if (!this.#owns(snapshot, snapshot.row.epoch)) return
    const lease = this.#leases.hold(snapshot)
    if (!takesRoom(snapshot)) this.room.outside.add(lease)
    const chain = this.#outside(() => this.#chain(snapshot, lease)).finally(() => {
      this.#leases.drop(lease)
      this.room.outside.delete(lease)
      // Code is called once: it is not called here again.
      this.#runtime.bodies.delete(snapshot.row)
      this.#chains.delete(chain)
      this.room.freed()
    })
    this.#chains.add(chain)
  }

  /** Takes no more sagas, and leaves the steps after running calls to others. */
  stop(): void {
    this.room.close()
    for (const begin of this.#line.splice(0)) begin()
    this.#transactions.open()
  }

  /** Lets the calls that run finish, at most `drainMs`. Never rejects. */
  async close(drainMs: number): Promise<void> {
    this.stop()
    const { clock } = this.#runtime
    const all = Promise.allSettled(this.#chains)
    await finishesWithin(clock, drainMs, all)
    await this.#leases.releaseAll(new SagaError('saga.closed'))
    await finishesWithin(clock, 1 * SECOND, all)
  }

  async #chain(first: Snapshot, lease: HeldLease): Promise<void> {
    const { logger } = this.#runtime
    const fields = { saga: first.row.name, id: first.row.id, epoch: lease.epoch }
    const waits = this.room.outside.has(lease)
    if (!waits) await this.#slot()
    try {
      await this.#leases.secure(lease)
      let current: Snapshot | undefined = first
      while (current !== undefined && this.#owns(current, lease.epoch)) current = await this.#round(current, lease)
    } catch (error) {
      if (this.room.isClosed && lease.signal.aborted) logger.info(fields, 'saga handed over: the coordinator closes')
      else if (isOwnershipLost(error)) logger.info(fields, 'saga taken over by another coordinator')
      else {
        const err = toError(error)
        if (isUnreadable(error)) this.#engine.unreadable.failed(cacheKey(first.row), err)
        logger.error({ ...fields, err }, 'saga left to its lease')
      }
    } finally {
      if (!waits) this.#leave()
    }
  }

  #leave(): void {
    this.#running--
    this.#line.shift()?.()
  }

  /** Waits for one of the `concurrency` slots. */
  async #slot(): Promise<void> {
    if (this.#running >= this.#runtime.concurrency && !this.room.isClosed) {
      await new Promise<void>((resolve) => this.#line.push(resolve))
    }
    this.#running++
  }

  /** Gives the slot of a chain to others during a pause. */
  async #aside(lease: HeldLease, pause: () => Promise<void>): Promise<void> {
    if (this.room.outside.has(lease)) return pause()
    this.#leave()
    try {
      await pause()
    } finally {
      await this.#slot()
    }
  }

  #owns({ row }: Snapshot, epoch: number): boolean {
    return row.owner === this.#runtime.instance && row.epoch === epoch && localCalls(row.state).length > 0
  }

  /**
   * Makes all calls of the state, those of a group or of a list at the same time, and those that come in their place.
   * @returns what came of the last to return
   */
  async #round(current: Snapshot, lease: HeldLease): Promise<Snapshot | undefined> {
    const calls = localCalls(current.row.state)
    const [only] = calls
    const isAlone = calls.length === 1 && only !== undefined && current.saga.steps[only.index]?.branch === undefined
    if (isAlone) return this.#step(current, only, lease)
    const running = new Map<string, Promise<void>>()
    const failed: unknown[] = []
    let last: Snapshot | undefined = current
    const begin = (snapshot: Snapshot): void => {
      for (const call of localCalls(snapshot.row.state)) {
        if (running.has(call.step)) continue
        const made = this.#step(snapshot, call, lease, () => last ?? snapshot).then(
          (next) => void (last = newest(last, next)),
          (error: unknown) => void failed.push(error),
        )
        running.set(
          call.step,
          made.then(() => {
            running.delete(call.step)
            if (failed.length === 0 && last !== undefined && this.#owns(last, lease.epoch)) begin(last)
          }),
        )
      }
    }
    begin(current)
    // All must have returned before anything else is done with the saga, also when one says that it is lost.
    while (running.size > 0) await Promise.all(running.values())
    if (failed.length > 0) throw failed[0]
    return last
  }

  /** @param latest the saga as what came of the other calls left it */
  async #step(current: Snapshot, call: Call, lease: HeldLease, latest = () => current): Promise<Snapshot | undefined> {
    if (this.room.isClosed) return this.#record(latest(), { type: 'yielded', step: call.step }, lease)
    // After a blocked event loop most leases are still held, and a renewal says so; `attempt` asks the clocks again.
    if (!this.#leases.isCertain(lease)) await this.#leases.secure(lease)
    const { transactional, inTransaction } = current.saga.steps[call.index] ?? {}
    return (inTransaction ?? transactional) === true
      ? this.#transactional(current, call, lease)
      : this.#plain(current, call, lease, latest)
  }

  /** The intent is committed; now the effect, then its outcome. */
  async #plain(current: Snapshot, call: Call, lease: HeldLease, latest: () => Snapshot): Promise<Snapshot | undefined> {
    const { step, operation } = call
    let event: SagaEvent
    try {
      event = { type: 'succeeded', step, operation, result: await this.#attempts.make(current, call, lease) }
    } catch (error) {
      event = this.#failed(current, call, lease, error)
    }
    return this.#record(latest(), event, lease)
  }

  /**
   * Effect and outcome in one commit. Of the pool's connections it takes `transactions` at most: renewals and plain writes
   * have the others. A transaction that did not begin is no attempt: the step was not called.
   */
  async #transactional(current: Snapshot, call: Call, lease: HeldLease): Promise<Snapshot | undefined> {
    for (let tries = 1; ; tries++) {
      const done = await this.#inTransaction(current, call, lease)
      if (!('notBegun' in done)) return done.next
      if (lease.signal.aborted) throw toError(lease.signal.reason)
      const fields = { saga: lease.name, id: lease.id, step: call.step, err: done.notBegun }
      this.#runtime.logger.warn(fields, 'the transaction of a saga step did not begin, trying again')
      await this.#runtime.clock.sleep(backoffDelayMs(BEGIN_BACKOFF, tries, Math.random()), lease.signal)
    }
  }

  async #inTransaction(
    current: Snapshot,
    call: Call,
    lease: HeldLease,
  ): Promise<{ readonly next: Snapshot | undefined } | { readonly notBegun: Error }> {
    const { step, operation } = call
    const yielded = { type: 'yielded', step } as const
    if (this.room.isClosed) return { next: await this.#record(current, yielded, lease) }
    const busy = new BusyTries(this.#runtime.clock, lease.signal)
    let done: StepDone | undefined
    while (done === undefined) {
      try {
        done = await this.#transactions.run(current, call, async (tx) => {
          if (this.room.isClosed) return undefined
          const result = await this.#attempts.make(current, call, lease, tx)
          return { type: 'succeeded', step, operation, result }
        })
      } catch (error) {
        if (await busy.wait(error, (pause) => this.#aside(lease, pause))) continue
        const event = this.#failed(current, call, lease, error)
        return { next: await this.#record(current, busy.made > 0 ? afterBusy(current, call, event) : event, lease) }
      }
    }
    if ('notBegun' in done) return { notBegun: toError(done.notBegun) }
    if (done.plan === undefined) return { next: await this.#record(current, yielded, lease) }
    this.#engine.committed(done.plan)
    return { next: done.plan.next }
  }

  /** @throws the end of ownership, or of this coordinator: neither is an outcome of the step */
  #failed(current: Snapshot, call: Call, lease: HeldLease, error: unknown): SagaEvent {
    if (lease.signal.aborted) throw toError(lease.signal.reason)
    if (isNotOurs(error)) throw error
    const { step, operation, attempt: tried } = call
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

  /** Writes an outcome, again and again while the database does not answer and the lease lasts. */
  async #record(snapshot: Snapshot, event: SagaEvent, lease: HeldLease): Promise<Snapshot | undefined> {
    const { clock, logger } = this.#runtime
    for (let tries = 1; ; tries++) {
      try {
        const applied = await this.#engine.apply(lease, event, { snapshot, epoch: lease.epoch })
        return applied?.snapshot
      } catch (error) {
        if (isOwnershipLost(error) || tries === MAX_WRITES) throw error
        logger.warn({ saga: lease.name, id: lease.id, err: toError(error) }, 'saga outcome not written, trying again')
        await clock.sleep(backoffDelayMs(WRITE_BACKOFF, tries, Math.random()), lease.signal)
      }
    }
  }
}

/** A no after a try that was rolled back says nothing of what that one did outside of its transaction. */
function afterBusy({ saga }: Snapshot, { index }: Call, event: SagaEvent): SagaEvent {
  if (event.type !== 'refused' || saga.steps[index]?.transactional === true) return event
  const { step, operation, error } = event
  return { type: 'failed', step, operation, error, terminal: true }
}

/** `undefined` when the saga no longer exists. */
function newest(one: Snapshot | undefined, other: Snapshot | undefined): Snapshot | undefined {
  if (one === undefined || other === undefined) return undefined
  return other.row.revision > one.row.revision ? other : one
}
