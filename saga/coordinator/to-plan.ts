/** Converts a transition to its writes. */
import { readInstant } from '../../core/elapsed-time.ts'
import { reportToParent } from '../definition/parent-child-relation.ts'
import type { TimelineEntry } from '../machine/event.ts'
import { mayCancel } from '../machine/machine.ts'
import { isEnded } from '../machine/state.ts'
import type { Transition } from '../machine/transition-draft.ts'
import { nextRevision } from '../store/revision.ts'
import type { SagaRow, SagaWrite } from '../store/store-types.ts'
import { mailAtEnd } from '../store/unhandled-mail.ts'
import type { PlanDraft } from './prepare-calls.ts'
import type { Plan } from './write-plan.ts'

/**
 * Returns the row, its times and the outgoing messages of a transition whose calls are prepared.
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
