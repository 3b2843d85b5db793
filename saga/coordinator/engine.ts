/**
 * Applies one event to one saga, durably: read, `advance`, encode the commands, write state, timeline and commands in one transaction
 * guarded by the revision; on a miss, read again. Nothing is called before its intent is written.
 *
 * Any instance may apply any event (a reply, an operator's action); only the owner at the same epoch may apply the outcome of a local call.
 * The instance that writes takes over a local call that follows (`owner`, `epoch + 1`), or leaves it due at once for another when it is
 * full. A stuck saga belongs to its writer, too, until the writer has reported it: if it cannot, the instance that takes the saga over
 * reports it.
 */

import { lastingContext } from '../../core/ambient.ts'
import { isOf } from '../../core/error-class.ts'
import { toError } from '../../core/errors.ts'
import { refuseOwnTransaction } from '../../core/sql.ts'
import { SqlError } from '../../core/sql-errors.ts'
import { grown } from '../definition/grown.ts'
import { SagaError } from '../errors.ts'
import type { Transition } from '../machine/draft.ts'
import type { SagaEvent, TimelineEntry } from '../machine/event.ts'
import { advance } from '../machine/machine.ts'
import type { SagaKey, SagaMail } from '../store/rows.ts'
import type { Applied, ApplyOptions } from './applied.ts'
import { type Asked, prepareCall, withoutCall } from './calls.ts'
import { Committer } from './committer.ts'
import { KeptRoom } from './kept-room.ts'
import { operatorEvent } from './outcome.ts'
import { type Plan, type Snapshot, takesOwnership } from './plan.ts'
import type { Room } from './room.ts'
import type { CoordinatorRuntime } from './runtime.ts'
import { cacheKey, isCancel, isGoingOn, isOther, isSmall, moved, withoutMail, withoutOrder } from './snapshot.ts'
import { toPlan } from './to-plan.ts'
import { WriteAttempts } from './unwritable.ts'
import { Unwritten } from './unwritten.ts'
import { WriteLines } from './write-lines.ts'

const MAX_CACHED = 1_000
const NONE: WriteAttempts['refusals'] = new Map()
const STARTED: SagaEvent = Object.freeze({ type: 'started' })

export class Engine {
  readonly #runtime: CoordinatorRuntime
  readonly #room: Room
  readonly #onCommitted: (plan: Plan) => void
  readonly #committer: Committer
  /** Events that wait for a write of their saga. */
  readonly #lines: WriteLines
  /** Sagas that this instance wrote last, to spare a read; stale ones are found out by the revision. */
  readonly #recent = new Map<string, Snapshot>()
  /** Sagas whose last write failed. */
  readonly unwritten: Unwritten
  /** Sagas that this release cannot read. */
  readonly unreadable: Unwritten

  /** Context of the coordinator's creation: commands are not sent under the locks of a saga's starter or of a reply's handler. */
  readonly #outside: <T>(work: () => T) => T = lastingContext()

  /** @param onCommitted called after each commit, in the order of one saga's writes */
  constructor(runtime: CoordinatorRuntime, room: Room, onCommitted: (plan: Plan) => void) {
    const { clock, leaseMs, loader } = runtime
    this.#runtime = runtime
    this.#room = room
    this.#onCommitted = onCommitted
    this.#committer = new Committer(runtime)
    this.unwritten = new Unwritten(clock, 3 * leaseMs, 'not written')
    this.unreadable = new Unwritten(clock, 3 * leaseMs, 'not read')
    this.#lines = new WriteLines(clock, {
      load: (key) => loader.load(key),
      plan: async (snapshot, event, epoch) => {
        this.#requireEpoch(snapshot, epoch)
        return this.#plan(snapshot, event, epoch)
      },
      settled: (plan) => this.settled(plan),
      commit: (plan) => this.#outside(() => this.commit(plan)),
      failed: (key, error) => this.unwritten.failed(cacheKey(key), toError(error)),
      alone: (key, event, options) => this.#apply(key, event, options, true),
    })
  }

  /** Writes a planned transition. False: the saga is no longer at the revision it was planned on. */
  async commit(plan: Plan): Promise<boolean> {
    try {
      const written = await this.#committer.commit(plan)
      if (written) this.committed(plan)
      this.unwritten.written(cacheKey(plan.next.row))
      this.unreadable.written(cacheKey(plan.next.row))
      return written
    } finally {
      this.settled(plan)
    }
  }

  /** A plan was written or given up: what it takes is no longer on its way. */
  settled(plan: Plan): void {
    this.#room.settled(plan)
  }

  /**
   * Applies an event and commits.
   * @returns `undefined` when the saga does not exist or its version is not loaded
   * @throws `saga.ownership_lost` when `epoch` is given and is not the present one
   */
  async apply(key: SagaKey, event: SagaEvent, options: ApplyOptions = {}): Promise<Applied | undefined> {
    // Mail that was read goes with the snapshot that it was taken from.
    return this.#apply(key, event, options, options.read !== undefined)
  }

  /** @param leaves does not wait for a write of the saga that is under way */
  async #apply(key: SagaKey, event: SagaEvent, options: ApplyOptions, leaves: boolean): Promise<Applied | undefined> {
    let alone = leaves
    if (!alone && this.#lines.isOpen(key)) return this.#join(key, event, options)
    const attempts = new WriteAttempts(event, options.parks === true)
    let known = options.snapshot ?? this.#recent.get(cacheKey(key))
    for (;;) {
      const snapshot = known ?? (await this.#loadWithout(key, options.read))
      if (snapshot === undefined) return undefined
      if (isOther(snapshot.row, options.birth)) {
        if (known === undefined) return { snapshot, changed: false, heard: false }
        known = undefined
        this.#recent.delete(cacheKey(key))
        continue
      }
      this.#requireEpoch(snapshot, options.epoch)
      const plan = await this.#plan(snapshot, attempts.event, options.epoch, attempts.refusals)
      if (plan === undefined && known === undefined) return { snapshot, changed: false, heard: false }
      if (plan !== undefined && !alone && this.#lines.isOpen(key)) {
        this.settled(plan)
        return this.#join(key, attempts.event, options)
      }
      const written = plan === undefined ? 'stale' : await this.#writeInLine(plan, attempts, alone)
      if (written === 'again') {
        // The replacement is known to these attempts only.
        alone = true
        continue
      }
      if (plan !== undefined && written === 'written') {
        return { snapshot: plan.next, changed: true, heard: plan.heard !== false }
      }
      known = undefined
      this.#recent.delete(cacheKey(key))
    }
  }

  /** Its sender's own transaction would wait for the write, and the write for that. */
  async #join(key: SagaKey, event: SagaEvent, options: ApplyOptions): Promise<Applied | undefined> {
    refuseOwnTransaction(this.#runtime.sql)
    return this.#lines.join(key, event, options)
  }

  #writeInLine(plan: Plan, attempts: WriteAttempts, alone: boolean): Promise<'written' | 'stale' | 'again'> {
    const write = () => this.#write(plan, attempts)
    return alone ? write() : this.#lines.open(plan.next.row, write)
  }

  /** @returns `again`: it can never be written, but something else can. @throws what the write threw */
  async #write(plan: Plan, attempts: WriteAttempts): Promise<'written' | 'stale' | 'again'> {
    const { logger } = this.#runtime
    const { name, id } = plan.next.row
    try {
      return (await this.commit(plan)) ? 'written' : 'stale'
    } catch (error) {
      if (!attempts.next(error, plan)) {
        if (!isOf(error, SqlError, 'core.sql_own_transaction'))
          this.unwritten.failed(cacheKey(plan.next.row), toError(error))
        throw error
      }
      const err = toError(error)
      logger.warn(
        { saga: name, id, err },
        'what a saga came to can never be written: the step that it comes from fails',
      )
      return 'again'
    }
  }

  /**
   * Plans the outcome of a local call, for a caller that writes it in the transaction of the effect. Call `committed` after the commit.
   * @throws `saga.ownership_lost`: roll back
   */
  async planOf(snapshot: Snapshot, event: SagaEvent, epoch: number): Promise<Plan> {
    this.#requireEpoch(snapshot, epoch)
    const plan = await this.#plan(snapshot, event, epoch)
    if (plan === undefined) throw new SagaError('saga.ownership_lost', { saga: snapshot.row.name, id: snapshot.row.id })
    return plan
  }

  /** All that was written here is read again: a database that failed over may have lost the last of it. */
  forget(): void {
    this.#recent.clear()
  }

  /** Keeps the new snapshot and calls `onCommitted`. */
  committed(plan: Plan): void {
    const key = cacheKey(plan.next.row)
    this.#lines.wrote(plan.next)
    this.#recent.delete(key)
    if (isGoingOn(plan.next.row.state.status) && isSmall(plan.next.row)) this.#recent.set(key, plan.next)
    if (this.#recent.size > MAX_CACHED) this.#recent.delete(this.#recent.keys().next().value as string)
    for (const span of plan.spans ?? []) span.end()
    this.#onCommitted(plan)
  }

  /** The saga as it was last written here, or else as it is in the database; maybe stale. */
  async find(key: SagaKey): Promise<Snapshot | undefined> {
    return this.#lines.latest(key) ?? this.#recent.get(cacheKey(key)) ?? this.#runtime.loader.load(key)
  }

  async #loadWithout(key: SagaKey, read: readonly SagaMail[] = []): Promise<Snapshot | undefined> {
    const snapshot = await this.#runtime.loader.load(key)
    return snapshot && withoutMail(snapshot, read)
  }

  /** Plans the first transition of a saga that is about to be inserted. */
  async planStart(fresh: Snapshot): Promise<Plan> {
    const transition = advance(fresh.saga, fresh.row.state, STARTED) as Transition
    return this.#settle(fresh, transition, STARTED, undefined)
  }

  #requireEpoch(snapshot: Snapshot, epoch: number | undefined): void {
    const { row } = snapshot
    if (epoch === undefined || (row.epoch === epoch && row.owner === this.#runtime.instance)) return
    throw new SagaError('saga.ownership_lost', { saga: row.name, id: row.id })
  }

  async #plan(
    before: Snapshot,
    event: SagaEvent,
    epoch: number | undefined,
    refusals: WriteAttempts['refusals'] = NONE,
  ): Promise<Plan | undefined> {
    const { saga, row } = before
    const elapsedMs = this.#runtime.clock.monotonic() - before.writtenAt
    const order = this.#order(before)
    const first = order && advance(saga, row.state, order, 0, elapsedMs)
    if (order === undefined || first === undefined) {
      const transition = advance(saga, row.state, event, Math.random(), elapsedMs)
      return transition && this.#settle(before, transition, event, epoch, refusals)
    }
    // With a call under way the event may be its outcome; otherwise it predates the order.
    const then = first.wake.kind === 'keep' ? advance(saga, first.state, event, 0, 0) : undefined
    const both = then === undefined ? first : { ...then, timeline: [...first.timeline, ...then.timeline] }
    const plan = await this.#settle(
      { ...before, row: { ...row, mail: withoutOrder(row.mail, order) } },
      both,
      order,
      epoch,
      refusals,
    )
    return then === undefined ? { ...plan, heard: false } : plan
  }

  /** Orders that precede every event: the parent has turned back, an operator cancels, or the saga's time is over. */
  #order({ row, deadlineAt }: Snapshot): SagaEvent | undefined {
    if (row.mail?.some((item) => 'undo' in item)) return { type: 'undo' }
    const cancel = row.mail?.find(isCancel)
    if (cancel !== undefined) return operatorEvent(cancel)
    const isLate = deadlineAt !== undefined && this.#runtime.clock.monotonic() >= deadlineAt
    return isLate ? { type: 'expired' } : undefined
  }

  /** The plan of a transition. Room that was kept for its local calls is given back when it does not come to take it. */
  async #settle(
    from: Snapshot,
    first: Transition,
    event: SagaEvent,
    epoch: number | undefined,
    refusals: WriteAttempts['refusals'] = NONE,
  ): Promise<Plan> {
    const saga = grown(from.saga, first.state)
    const before = saga === from.saga ? from : { ...from, saga }
    const room = new KeptRoom(this.#runtime, this.#room, epoch !== undefined)
    const asked: Asked = {
      runtime: this.#runtime,
      before,
      messages: [],
      requests: [],
      spans: [],
      starts: [],
      posts: [],
      refusals,
      asked: [],
      room,
    }
    let plan: Plan | undefined
    try {
      plan = await this.#ready(asked, first, event, epoch)
      return plan
    } finally {
      room.planned(plan !== undefined && takesOwnership(plan))
    }
  }

  /**
   * Readies the calls of a transition; one that is not made after all is the next event.
   * @throws `saga.input_unreadable`, `saga.result_unreadable`
   */
  async #ready(asked: Asked, first: Transition, event: SagaEvent, epoch: number | undefined): Promise<Plan> {
    const timeline: TimelineEntry[] = [...first.timeline]
    let last = first
    let pending = [...first.calls]
    for (let call = pending.shift(); call !== undefined; call = pending.shift()) {
      const answer = await this.#outside(() => prepareCall(asked, last.state, call))
      const next = answer === undefined ? undefined : advance(asked.before.saga, last.state, answer, 0, 0)
      if (next === undefined) continue
      if (next.state.steps.length !== last.state.steps.length) {
        asked.before = { ...asked.before, saga: grown(asked.before.saga, next.state) }
        pending = pending.map((other) => moved(other, next.state))
      }
      if (answer?.type === 'yielded' || answer?.type === 'omitted') withoutCall(timeline, call)
      timeline.push(...next.timeline)
      pending.push(...next.calls)
      last = { ...next, wake: next.wake.kind === 'keep' ? last.wake : next.wake }
    }
    return this.#traced(asked, event, toPlan(asked, last, timeline, epoch))
  }

  #traced({ spans }: Asked, event: SagaEvent, plan: Plan): Plan {
    const { telemetry } = this.#runtime
    if (telemetry === undefined) return plan
    const { before, next, write } = plan
    const change = { saga: before.saga, before: before.row, after: next.row, event, timeline: write.timeline }
    const span = telemetry.change(change)
    return { ...plan, spans: span === undefined ? spans : [...spans, span] }
  }
}
