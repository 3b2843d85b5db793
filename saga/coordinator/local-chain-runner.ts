/**
 * Runs the sagas that this process owns from local step to local step. A chain of local steps runs without waiting for a poll; at
 * most `concurrency` chains run at once, while the others wait in line with their leases renewed.
 */
import { lastingContext } from '../../core/async-contexts.ts'
import { SECOND } from '../../core/clock.ts'
import { toError } from '../../core/errors.ts'
import { finishesWithin } from '../../core/time-limit.ts'
import { SagaError } from '../errors.ts'
import { localCalls } from '../machine/state.ts'
import type { Applied } from './apply-event-types.ts'
import type { EventApplier } from './event-applier.ts'
import type { HeldLease, Leases } from './leases.ts'
import { cacheKey, follows, type LoadedSaga } from './loaded-saga.ts'
import { LostTransactions } from './lost-transactions.ts'
import { isUnreadable } from './outcome-to-event.ts'
import type { CoordinatorRuntime } from './runtime.ts'
import { type SagaCapacity, takesRoom } from './saga-capacity.ts'
import { Slots } from './slots.ts'
import { isOwnershipLost } from './step-function-calls.ts'
import { type Chains, StepRunner } from './step-runner.ts'

export class LocalChainRunner implements Chains {
  readonly capacity: SagaCapacity
  readonly #runtime: CoordinatorRuntime
  readonly #applier: EventApplier
  readonly #leases: Leases
  readonly #steps: StepRunner
  readonly #lost: LostTransactions
  readonly #slots: Slots
  readonly #chains = new Set<Promise<void>>()
  /**
   * Context of the coordinator's creation instead of a saga's starter or a reply's handler, whose locks do not belong to the
   * saga.
   */
  readonly #detached: <T>(work: () => T) => T = lastingContext()

  constructor(runtime: CoordinatorRuntime, applier: EventApplier, leases: Leases, capacity: SagaCapacity) {
    this.#runtime = runtime
    this.#applier = applier
    this.#leases = leases
    this.capacity = capacity
    this.#slots = new Slots(runtime.concurrency)
    this.#steps = new StepRunner(runtime, applier, leases, this)
    this.#lost = new LostTransactions(runtime, applier, capacity)
  }

  get isClosing(): boolean {
    return this.capacity.isClosed
  }

  /** Runs a saga whose snapshot says that this instance owns it for a local call; otherwise does nothing. */
  take(snapshot: LoadedSaga): void {
    if (!this.#owns(snapshot, snapshot.row.epoch)) return
    const lease = this.#leases.hold(snapshot)
    if (!takesRoom(snapshot)) this.capacity.exempt.add(lease)
    const chain = this.#detached(() => this.#run(snapshot, lease)).finally(() => {
      // Code of a transaction is called once, and never again here.
      this.#runtime.runningTransactions.delete(snapshot.row)
      this.#chains.delete(chain)
      this.capacity.freed()
    })
    this.#chains.add(chain)
  }

  /** Takes no more sagas, and leaves the steps after running calls to other instances. */
  stop(): void {
    this.capacity.close()
    this.#slots.open()
    this.#steps.open()
  }

  /** Lets running calls finish, for at most `drainMs`. Never rejects. */
  async close(drainMs: number): Promise<void> {
    this.stop()
    const { clock } = this.#runtime
    const all = this.#idle()
    await finishesWithin(clock, drainMs, all)
    await this.#leases.releaseAll(new SagaError('saga.closed'))
    await finishesWithin(clock, 1 * SECOND, all)
  }

  /** Waits for all chains, including new ones: they hand their next steps to other instances. */
  async #idle(): Promise<void> {
    while (this.#chains.size > 0) await Promise.allSettled(this.#chains)
  }

  async #run(first: LoadedSaga, lease: HeldLease): Promise<void> {
    const isWritten = await this.#chain(first, lease)
    this.#leases.drop(lease)
    this.capacity.exempt.delete(lease)
    if (!isWritten) await this.#lost.restore(first)
  }

  /** Runs one chain. @returns false when the outcome of its last call could not be written */
  async #chain(first: LoadedSaga, lease: HeldLease): Promise<boolean> {
    const { logger } = this.#runtime
    const fields = { saga: first.row.name, id: first.row.id, epoch: lease.epoch }
    const waits = this.capacity.exempt.has(lease)
    if (!waits) await this.#slots.take()
    try {
      await this.#leases.secure(lease)
      let current: LoadedSaga | undefined = first
      while (current !== undefined && this.#owns(current, lease.epoch)) current = await this.#round(current, lease)
      if (current === undefined) logger.warn(fields, 'saga no longer in the database')
      return current !== undefined
    } catch (error) {
      if (this.capacity.isClosed && lease.signal.aborted)
        logger.info(fields, 'saga handed over: the coordinator closes')
      else if (isOwnershipLost(error)) logger.info(fields, 'saga taken over by another coordinator')
      else {
        const err = toError(error)
        if (isUnreadable(error)) this.#applier.readFailures.failed(cacheKey(first.row), err)
        logger.error({ ...fields, err }, 'saga left to its lease')
      }
      return false
    } finally {
      if (!waits) this.#slots.give()
    }
  }

  /** Gives the slot of a chain to others during a pause. */
  async aside(lease: HeldLease, pause: () => Promise<void>): Promise<void> {
    if (this.capacity.exempt.has(lease)) return pause()
    this.#slots.give()
    try {
      await pause()
    } finally {
      await this.#slots.take()
    }
  }

  #owns({ row }: LoadedSaga, epoch: number): boolean {
    return row.owner === this.#runtime.instance && row.epoch === epoch && localCalls(row.state).length > 0
  }

  /**
   * Makes all calls of the state, those of a group or a list concurrently, and the calls that replace them.
   * @returns the result of the last one to return
   */
  async #round(current: LoadedSaga, lease: HeldLease): Promise<LoadedSaga | undefined> {
    const calls = localCalls(current.row.state)
    const [only] = calls
    const isAlone = calls.length === 1 && only !== undefined && current.saga.steps[only.index]?.branch === undefined
    if (isAlone) return (await this.#steps.run(current, only, lease))?.snapshot
    const running = new Map<string, Promise<void>>()
    const failed: unknown[] = []
    let last: LoadedSaga | undefined = current
    const begin = (snapshot: LoadedSaga): void => {
      for (const call of localCalls(snapshot.row.state)) {
        if (running.has(call.step)) continue
        const made = this.#steps
          .run(snapshot, call, lease, () => last ?? snapshot)
          .then(
            (applied) => void (last = latest(last, applied)),
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
    // Wait until all have returned before the saga continues, even if one reports that it is lost.
    while (running.size > 0) await Promise.all(running.values())
    if (failed.length > 0) throw failed[0]
    return last
  }
}

/**
 * Returns the latest snapshot: an outcome that changed nothing shows the database's state. @returns `undefined` when the saga no
 * longer exists
 */
function latest(known: LoadedSaga | undefined, applied: Applied | undefined): LoadedSaga | undefined {
  if (known === undefined || applied === undefined) return undefined
  const { changed, snapshot } = applied
  return !changed || follows(snapshot, known) ? snapshot : known
}
