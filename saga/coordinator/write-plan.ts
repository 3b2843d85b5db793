/** Plans: the next state of a saga with all that leaves with it, ready to be written. */
import type { EncodedMessage } from '../../binder/channel/message.ts'
import { readInstant } from '../../core/elapsed-time.ts'
import type { TelemetrySpan } from '../../core/telemetry-interface.ts'
import { reportToParent } from '../definition/parent-child-relation.ts'
import type { DirectRequest } from '../direct/target.ts'
import type { TimelineEntry } from '../machine/event.ts'
import { mayCancel } from '../machine/machine.ts'
import { type Call, isEnded, type StepFailure } from '../machine/state.ts'
import type { Transition } from '../machine/transition-draft.ts'
import { nextRevision } from '../store/revision.ts'
import type { SagaPost, SagaRow, SagaWrite } from '../store/row-types.ts'
import { mailAtEnd } from '../store/unhandled-mail.ts'
import type { CapacityReservation } from './capacity-reservation.ts'
import type { LoadedSaga } from './loaded-saga.ts'
import type { CoordinatorRuntime } from './runtime.ts'

/** A command that has to be asked for once its intent is durable. */
export interface DirectCommand extends DirectRequest {
  /** Time limit of the request; afterwards the saga is due. */
  readonly waitMs: number
}

/** A transition ready to be written. */
export interface Plan {
  readonly before: LoadedSaga
  readonly next: LoadedSaga
  readonly write: SagaWrite
  readonly messages: readonly EncodedMessage[]
  /** To be asked by this process once it is committed. */
  readonly requests: readonly DirectCommand[]
  /** The calls, by `callKey`, that it sends or plans: what cannot be written may be in them. */
  readonly callKeys: readonly string[]
  /** To end once it is committed; with telemetry only. */
  readonly spans?: readonly TelemetrySpan[] | undefined
  /** False: what is written is not what the event said, but something that came before it. */
  readonly heard?: false | undefined
  /** The plans that this one writes together. */
  readonly parts?: readonly Plan[] | undefined
}

/** Input and result of preparing a plan's calls. */
export interface PlanDraft {
  readonly runtime: CoordinatorRuntime
  /** Grows with what is planned. */
  before: LoadedSaga
  readonly messages: EncodedMessage[]
  readonly requests: DirectCommand[]
  /** To end once it is durable. */
  readonly spans: TelemetrySpan[]
  readonly starts: SagaWrite[]
  readonly posts: SagaPost[]
  /** Calls, by `callKey`, that cannot be written, and why. */
  readonly refusals: ReadonlyMap<string, StepFailure>
  /** Calls that send or plan something, by `callKey`. */
  readonly callKeys: string[]
  readonly room: CapacityReservation
}

/**
 * The row, its times and what leaves with it, of a transition whose calls are ready.
 * @param epoch of the owner, when the owner applies it
 */
export function toPlan(
  { runtime, before, messages, requests, starts, posts, callKeys }: PlanDraft,
  { state, wake }: Transition,
  timeline: readonly TimelineEntry[],
  epoch: number | undefined,
): Plan {
  const { instance, leaseMs, clock } = runtime
  const owned = wake.kind === 'lease'
  const kept = wake.kind === 'keep'
  const isParked = state.status === 'stuck' && !kept
  const { mail, refusals } = isEnded(state.status)
    ? mailAtEnd(before.row.mail, state.status)
    : { mail: before.row.mail, refusals: [] }
  const row: SagaRow = {
    ...before.row,
    state,
    mail,
    revision: nextRevision(before.row.revision),
    owner: owned || isParked ? instance : kept ? before.row.owner : null,
    epoch: owned && epoch === undefined ? before.row.epoch + 1 : before.row.epoch,
  }
  const laterMs = mail !== null ? 0 : wake.kind === 'in' ? wake.ms : isParked ? leaseMs : null
  // The owner renews its lease anyway: its write leaves the lease and its index unchanged.
  const renewed = owned && epoch !== undefined
  const wakeMs = kept || renewed ? 'as before' : owned ? leaseMs : laterMs
  const heedsDeadline = row.owner === null && mayCancel(before.saga, state)
  const now = readInstant(clock)
  const next = { ...before, row, takenAt: wakeMs === 'as before' ? before.takenAt : now, writtenAt: now.monotonicMs }
  const report = reportToParent(state)
  const leaving =
    report === undefined ? posts : [...posts, { to: { name: report.saga, id: report.sagaId }, mail: report }]
  const write: SagaWrite = {
    row,
    previous: before.row.revision,
    wakeMs,
    heedsDeadline,
    timeline: [...timeline, ...refusals],
    ...(starts.length > 0 && { starts }),
    ...(leaving.length > 0 && { posts: leaving }),
  }
  return { before, next, messages, requests, callKeys, write }
}

/** True when the plan makes its writer the owner, who did not own the saga before: it has a local call to make. */
export function takesOwnership({ before, next }: Plan): boolean {
  return next.row.owner !== null && next.row.epoch !== before.row.epoch
}

/** Combines two plans, the second of which builds on the first: one revision, one write. */
export function folded(first: Plan, then: Plan): Plan {
  const row = { ...then.next.row, revision: first.next.row.revision }
  const due = then.write.wakeMs === 'as before' ? first.write : then.write
  const starts = [...(first.write.starts ?? []), ...(then.write.starts ?? [])]
  const posts = [...(first.write.posts ?? []), ...(then.write.posts ?? [])]
  return {
    before: first.before,
    next: { ...then.next, row },
    messages: [...first.messages, ...then.messages],
    requests: [...first.requests, ...then.requests],
    callKeys: [...first.callKeys, ...then.callKeys],
    spans: [...(first.spans ?? []), ...(then.spans ?? [])],
    parts: [...(first.parts ?? [first]), then],
    write: {
      row,
      previous: first.write.previous,
      wakeMs: due.wakeMs,
      heedsDeadline: due.heedsDeadline,
      timeline: [...first.write.timeline, ...then.write.timeline],
      ...(starts.length > 0 && { starts }),
      ...(posts.length > 0 && { posts }),
    },
  }
}

/** Tells the calls of a plan apart. */
export function callKey({ step, operation }: Call): string {
  return `${step}/${operation}`
}
