/** Plans: the next state of a saga with all outgoing messages, ready to be written. */
import type { EncodedMessage } from '../../binder/channel/message.ts'
import type { TelemetrySpan } from '../../core/telemetry-interface.ts'
import type { DirectRequest } from '../direct/target.ts'
import type { Call } from '../machine/state.ts'
import type { SagaWrite } from '../store/store-types.ts'
import type { LoadedSaga } from './loaded-saga.ts'

/** A command to call directly once its intent is durable. */
export interface DirectCommand extends DirectRequest {
  /** Time limit of the request, after which the saga is due. */
  readonly waitMs: number
}

/** A transition ready to be written. */
export interface Plan {
  readonly before: LoadedSaga
  readonly next: LoadedSaga
  readonly write: SagaWrite
  readonly messages: readonly EncodedMessage[]
  /** Requests for this process to make after the commit. */
  readonly requests: readonly DirectCommand[]
  /** Calls that the plan sends or plans, by `callKey`; data that cannot be written may be in them. */
  readonly callKeys: readonly string[]
  /** Spans to end after the commit; with telemetry only. */
  readonly spans?: readonly TelemetrySpan[] | undefined
  /** False: the plan writes an event that preceded the given one. */
  readonly heard?: false | undefined
  /** Plans that this one combines. */
  readonly parts?: readonly Plan[] | undefined
}

/** True when the plan makes its writer the new owner, to make a local call. */
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

/** Identifies a call within a plan. */
export function callKey({ step, operation }: Call): string {
  return `${step}/${operation}`
}
