/**
 * Plans the write of an event without writing: passes the event through the machine, prepares the following calls, and builds the
 * next row of the saga.
 */
import { lastingContext } from '../../core/async-contexts.ts'
import { instanceDefinition } from '../definition/definition-with-added-steps.ts'
import { SagaError } from '../errors.ts'
import type { SagaEvent, TimelineEntry } from '../machine/event.ts'
import { advance } from '../machine/machine.ts'
import type { Transition } from '../machine/transition-draft.ts'
import { CapacityReservation } from './capacity-reservation.ts'
import { isCancel, type LoadedSaga, moved, withoutOrder } from './loaded-saga.ts'
import { operatorEvent } from './outcome-to-event.ts'
import { type PlanDraft, prepareCall, withoutCall } from './prepare-calls.ts'
import type { CoordinatorRuntime } from './runtime.ts'
import type { SagaCapacity } from './saga-capacity.ts'
import { toPlan } from './to-plan.ts'
import type { WriteFallbacks } from './write-fallbacks.ts'
import { type Plan, takesOwnership } from './write-plan.ts'

const NONE: WriteFallbacks['refusals'] = new Map()
const STARTED: SagaEvent = Object.freeze({ type: 'started' })

export class WritePlanner {
  readonly #runtime: CoordinatorRuntime
  readonly #capacity: SagaCapacity
  /**
   * Context of the coordinator's creation, so that commands are not sent under the locks of a saga's starter or a reply's
   * handler.
   */
  readonly #detached: <T>(work: () => T) => T = lastingContext()

  constructor(runtime: CoordinatorRuntime, capacity: SagaCapacity) {
    this.#runtime = runtime
    this.#capacity = capacity
  }

  /** Releases the capacity that was reserved for a plan, after it was written or abandoned. */
  releaseRoom(plan: Plan): void {
    this.#capacity.release(plan)
  }

  /** Plans the first transition of a saga that is about to be inserted. */
  async planStart(fresh: LoadedSaga): Promise<Plan> {
    const transition = advance(fresh.saga, fresh.row.state, STARTED) as Transition
    return this.#planTransition(fresh, transition, STARTED, undefined)
  }

  /**
   * Plans an event; `undefined` when the event has no meaning in this state.
   * @param epoch of the owner, when the owner applies it
   * @throws `saga.ownership_lost`; `saga.input_unreadable`; `saga.result_unreadable`
   */
  async plan(
    before: LoadedSaga,
    event: SagaEvent,
    epoch: number | undefined,
    refusals: WriteFallbacks['refusals'] = NONE,
  ): Promise<Plan | undefined> {
    this.#requireEpoch(before, epoch)
    const { saga, row } = before
    const elapsedMs = this.#runtime.clock.monotonic() - before.writtenAt
    const order = this.#precedingEvent(before)
    const first = order && advance(saga, row.state, order, 0, elapsedMs)
    if (order === undefined || first === undefined) {
      const transition = advance(saga, row.state, event, Math.random(), elapsedMs)
      return transition && this.#planTransition(before, transition, event, epoch, refusals)
    }
    // The preceding event (undo, cancel, deadline) comes first. If a local call is still running after it, the given event may be
    // the outcome of that call and is applied after it; otherwise the preceding event closed the step that the given event is
    // about, and it is ignored.
    const then = first.wake.kind === 'keep' ? advance(saga, first.state, event, 0, 0) : undefined
    const both = then === undefined ? first : { ...then, timeline: [...first.timeline, ...then.timeline] }
    const plan = await this.#planTransition(
      { ...before, row: { ...row, mail: withoutOrder(row.mail, order) } },
      both,
      order,
      epoch,
      refusals,
    )
    return then === undefined ? { ...plan, heard: false } : plan
  }

  /**
   * Plans the outcome of a local call, for a caller that writes it in the transaction of the effect, and calls
   * `EventApplier.committed` after the commit.
   * @throws `saga.ownership_lost`: roll back
   */
  async planOutcome(snapshot: LoadedSaga, event: SagaEvent, epoch: number): Promise<Plan> {
    const plan = await this.plan(snapshot, event, epoch)
    if (plan === undefined) throw new SagaError('saga.ownership_lost', { saga: snapshot.row.name, id: snapshot.row.id })
    return plan
  }

  #requireEpoch(snapshot: LoadedSaga, epoch: number | undefined): void {
    const { row } = snapshot
    if (epoch === undefined || (row.epoch === epoch && row.owner === this.#runtime.instance)) return
    throw new SagaError('saga.ownership_lost', { saga: row.name, id: row.id })
  }

  /**
   * Returns the event that precedes all others: the parent is being undone, an operator cancels, or the saga's deadline has
   * passed.
   */
  #precedingEvent({ row, deadlineAt }: LoadedSaga): SagaEvent | undefined {
    if (row.mail?.some((item) => 'undo' in item)) return { type: 'undo' }
    const cancel = row.mail?.find(isCancel)
    if (cancel !== undefined) return operatorEvent(cancel)
    const isLate = deadlineAt !== undefined && this.#runtime.clock.monotonic() >= deadlineAt
    return isLate ? { type: 'expired' } : undefined
  }

  /** Plans a transition. Capacity that was reserved for its local calls is released if the plan fails. */
  async #planTransition(
    from: LoadedSaga,
    first: Transition,
    event: SagaEvent,
    epoch: number | undefined,
    refusals: WriteFallbacks['refusals'] = NONE,
  ): Promise<Plan> {
    const saga = instanceDefinition(from.saga, first.state)
    const before = saga === from.saga ? from : { ...from, saga }
    const reservation = new CapacityReservation(this.#runtime, this.#capacity, epoch !== undefined)
    const draft: PlanDraft = {
      runtime: this.#runtime,
      before,
      messages: [],
      requests: [],
      spans: [],
      starts: [],
      posts: [],
      refusals,
      callKeys: [],
      reservation,
    }
    let plan: Plan | undefined
    try {
      plan = await this.#ready(draft, first, event, epoch)
      return plan
    } finally {
      reservation.planned(plan !== undefined && takesOwnership(plan))
    }
  }

  /**
   * Prepares the calls of a transition; a call that is not made after all becomes the next event.
   * @throws `saga.input_unreadable`, `saga.result_unreadable`
   */
  async #ready(draft: PlanDraft, first: Transition, event: SagaEvent, epoch: number | undefined): Promise<Plan> {
    const timeline: TimelineEntry[] = [...first.timeline]
    let last = first
    let pending = [...first.calls]
    for (let call = pending.shift(); call !== undefined; call = pending.shift()) {
      const answer = await this.#detached(() => prepareCall(draft, last.state, call))
      const next = answer === undefined ? undefined : advance(draft.before.saga, last.state, answer, 0, 0)
      if (next === undefined) continue
      if (next.state.steps.length !== last.state.steps.length) {
        draft.before = { ...draft.before, saga: instanceDefinition(draft.before.saga, next.state) }
        pending = pending.map((other) => moved(other, next.state))
      }
      if (answer?.type === 'yielded' || answer?.type === 'omitted') withoutCall(timeline, call)
      timeline.push(...next.timeline)
      pending.push(...next.calls)
      last = { ...next, wake: next.wake.kind === 'keep' ? last.wake : next.wake }
    }
    return this.#traced(draft, event, toPlan(draft, last, timeline, epoch))
  }

  #traced({ spans }: PlanDraft, event: SagaEvent, plan: Plan): Plan {
    const { telemetry } = this.#runtime
    if (telemetry === undefined) return plan
    const { before, next, write } = plan
    const change = { saga: before.saga, before: before.row, after: next.row, event, timeline: write.timeline }
    const span = telemetry.change(change)
    return { ...plan, spans: span === undefined ? spans : [...spans, span] }
  }
}
