/** The sagas as rows: what the store reads and writes. */

import type { OperatorAction, TimelineEntry } from '../machine/event.ts'
import type { SagaParent, SagaState, SagaStatus } from '../machine/state.ts'
import type { SagaReply } from '../wire/reply.ts'

export type ResolvedFilter = ListFilter & { readonly limit: number }

/** All that is given must fit. */
export interface ListFilter {
  readonly status?: SagaStatus | undefined
  readonly saga?: string | undefined
  readonly version?: number | undefined
  /** The code of the failure: `payments.declined`. */
  readonly code?: string | undefined
  /** Epoch ms, server time, exclusive. */
  readonly startedAfter?: number | undefined
  /** Epoch ms, server time, exclusive. */
  readonly startedBefore?: number | undefined
  /** The last line of the page before this one. */
  readonly after?: SagaSummary | undefined
  /** @default 100 */
  readonly limit?: number | undefined
}

export interface SagaKey {
  readonly name: string
  readonly id: string
}

/** A reply, a signal for a step, the order of the saga that this one is a step of, or an operator's action. */
export type SagaMail = SagaReply | SagaSignal | SagaUndo | SagaOperatorMail

export interface SagaUndo {
  readonly undo: true
  /** The step that gives the order: only a saga that was begun as that one hears it. */
  readonly of?: Omit<SagaParent, 'operation'> | undefined
}

/** Action of an operator without the definition: applied by an instance that has it. */
export interface SagaOperatorMail {
  readonly operator: OperatorAction
  readonly by: string
  readonly reason: string
  /** Tells it from others in the row. */
  readonly request: string
}

export interface SagaSignal {
  readonly signal: string
  readonly payload?: unknown
  /** The channel whose message it is; absent: it is no message. Such a signal is never mail: a message is left as it came. */
  readonly channel?: string | undefined
}

/** The steps of a definition that wait for signals, each with the channel whose messages these are; `null`: they are no messages. */
export type SagaSignals = Readonly<Record<string, string | null>>

/** Where a saga's trace begins: W3C headers. */
export type SagaTrace = Readonly<Record<string, string>>

/** A version of a definition. */
export interface SagaVersion {
  readonly name: string
  readonly version: number
}

export interface SagaRow extends SagaKey {
  readonly version: number
  readonly graphHash: string
  /** Tells it from an earlier saga that had its id and was deleted. */
  readonly birth: string
  readonly state: SagaState
  readonly input: unknown
  readonly inputHash: string
  readonly revision: number
  readonly owner: string | null
  readonly epoch: number
  /**
   * Events that were left for the next instance that takes the saga: orders to turn back and reports of sub-sagas, actions of operators
   * from another process, and signals and replies that reached an instance without this version.
   */
  readonly mail: readonly SagaMail[] | null
  /** Until its deadline passes, when it was read; `null`: it has none. */
  readonly deadlineInMs: number | null
  /** Since its state was written, when it was read. */
  readonly sinceWriteMs: number
  /** Since it was started, when it was read. */
  readonly ageMs: number
  /** `null`: it was started without telemetry. */
  readonly trace: SagaTrace | null
  /** Only of a saga that is being started: the shard that it is for, and under which layout, `a@2`. Absent: there are no shards. */
  readonly home?: string | undefined
}

/** A saga that was due, and is taken. */
export interface ClaimedRow extends SagaRow {
  /** Previous owner; of a stuck saga: the instance that was to report it. */
  readonly former: string | null
}

/** The next row of a saga. */
export interface SagaWrite {
  readonly row: SagaRow
  /** Revision that it replaces: applied only if this is the present one. 0: there is none yet. */
  readonly previous: number
  /** Look again after this long; `null`: never. */
  readonly wakeMs: number | null | 'as before'
  /** True: look at its deadline at the latest. */
  readonly heedsDeadline: boolean
  readonly timeline: readonly TimelineEntry[]
  /** Sagas that begin with it, and mail that leaves with it. */
  readonly starts?: readonly SagaWrite[] | undefined
  /**
   * Of a saga that begins as a step of another: the earlier runs of that step, newest first. It begins only when the newest one
   * that exists was compensated; else that one is still the step.
   */
  readonly earlier?: readonly SagaKey[] | undefined
  readonly posts?: readonly SagaPost[] | undefined
}

export interface SagaPost {
  readonly to: SagaKey
  readonly mail: SagaMail
  /** Posted instead when who should get it has nothing more to do. */
  readonly otherwise?: SagaPost | undefined
  /** Sent back if the target saga does not exist or its id was reused. */
  readonly missing?: SagaPost | undefined
}

export interface SagaLease extends SagaKey {
  readonly epoch: number
}

/** A saga that a caller waits for. */
export interface StandingSaga extends SagaKey {
  /** True once it has ended or is stuck. */
  readonly isEndedOrStuck: boolean
}

/** A line of `list()`. */
export interface SagaSummary extends SagaKey {
  readonly version: number
  readonly status: SagaStatus
  readonly failure: SagaState['failure']
  readonly createdAt: number
  readonly updatedAt: number
}

/** A saga and its timeline. */
export interface ReportedSaga extends SagaRow {
  /** Epoch ms, server time; so is `updatedAt`. */
  readonly createdAt: number
  readonly updatedAt: number
  readonly timeline: readonly TimelineRow[]
}

/** A timeline entry as it is kept. */
export interface TimelineRow extends TimelineEntry {
  /** Epoch ms, server time. */
  readonly at: number
}
