/** Sagas as rows: types that the store reads and writes. */

import type { OperatorAction, TimelineEntry } from '../machine/event.ts'
import type { SagaParent, SagaState, SagaStatus } from '../machine/state.ts'
import type { SagaReply } from '../wire/reply.ts'

export type ResolvedFilter = ListFilter & { readonly limit: number }

/** Filter of a list; all given conditions must hold. */
export interface ListFilter {
  readonly status?: SagaStatus | undefined
  readonly saga?: string | undefined
  readonly version?: number | undefined
  /** Code of the failure: `payments.declined`. */
  readonly code?: string | undefined
  /** Epoch ms, server time, exclusive. */
  readonly startedAfter?: number | undefined
  /** Epoch ms, server time, exclusive. */
  readonly startedBefore?: number | undefined
  /** Last line of the previous page. */
  readonly after?: SagaSummary | undefined
  /** Maximum number of lines. @default 100 */
  readonly limit?: number | undefined
}

export interface SagaKey {
  readonly name: string
  readonly id: string
}

/** A reply, a signal for a step, the parent's order to undo, or an operator's action. */
export type SagaMail = SagaReply | SagaSignal | SagaUndo | SagaOperatorMail

export interface SagaUndo {
  readonly undo: true
  /** Parent's step that gives the order: it applies only to the saga that was begun as this step. */
  readonly of?: Omit<SagaParent, 'operation'> | undefined
}

/** Action of an operator, stored without knowledge of the definition and applied by an instance that has it. */
export interface SagaOperatorMail {
  readonly operator: OperatorAction
  readonly by: string
  readonly reason: string
  /** Identifies it among others in the row. */
  readonly request: string
}

export interface SagaSignal {
  readonly signal: string
  readonly payload?: unknown
  /** Channel of the message; absent for other signals. A message is never stored as mail, but in its original form. */
  readonly channel?: string | undefined
}

/** Steps of a definition that wait for signals, each with the channel of its messages, or `null` for `coordinator.signal`. */
export type SagaSignals = Readonly<Record<string, string | null>>

/** Start of a saga's trace, as W3C headers. */
export type SagaTrace = Readonly<Record<string, string>>

/** A version of a definition. */
export interface SagaVersion {
  readonly name: string
  readonly version: number
}

export interface SagaRow extends SagaKey {
  readonly version: number
  readonly graphHash: string
  /** Distinguishes the saga from an earlier one with the same id that was deleted. */
  readonly birth: string
  readonly state: SagaState
  readonly input: unknown
  readonly inputHash: string
  readonly revision: number
  readonly owner: string | null
  readonly epoch: number
  /**
   * Events stored for the next instance that takes the saga: orders to undo, reports of sub-sagas, operators' actions from other
   * processes, and signals and replies that reached an instance without this version.
   */
  readonly mail: readonly SagaMail[] | null
  /** Time until its deadline passes, as of the read; `null` without one. */
  readonly deadlineInMs: number | null
  /** Time since its state was written, as of the read. */
  readonly sinceWriteMs: number
  /** Time since it was started, as of the read. */
  readonly ageMs: number
  /** Start of its trace; `null` if it was started without telemetry. */
  readonly trace: SagaTrace | null
  /** For a saga that is being started: its shard and layout, `a@2`. Absent without shards. */
  readonly home?: string | undefined
}

/** A due saga that this process has taken. */
export interface ClaimedRow extends SagaRow {
  /** Previous owner; of a stuck saga the instance that should have called `onStuck`. */
  readonly former: string | null
}

/** The next state of a saga's row. */
export interface SagaWrite {
  readonly row: SagaRow
  /** Revision that it replaces: applied only if this is the current one. 0: there is no row yet. */
  readonly previous: number
  /** Time after which the saga is due again; `null`: never. */
  readonly wakeMs: number | null | 'as before'
  /** True: due at its deadline at the latest. */
  readonly heedsDeadline: boolean
  readonly timeline: readonly TimelineEntry[]
  /** Sagas to begin in the same write, and mail to store for others. */
  readonly starts?: readonly SagaWrite[] | undefined
  /**
   * For a saga that begins as a step of another: the earlier runs of that step, newest first. It begins only if the newest
   * existing one was compensated; otherwise that one remains the step.
   */
  readonly earlier?: readonly SagaKey[] | undefined
  readonly posts?: readonly SagaPost[] | undefined
}

export interface SagaPost {
  readonly to: SagaKey
  readonly mail: SagaMail
  /** Posted instead if the recipient has nothing more to do. */
  readonly otherwise?: SagaPost | undefined
  /** Posted back if the target saga does not exist or its id was reused. */
  readonly missing?: SagaPost | undefined
}

export interface SagaLease extends SagaKey {
  readonly epoch: number
}

/** A saga whose end a caller waits for. */
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

/** A stored timeline entry. */
export interface TimelineRow extends TimelineEntry {
  /** Epoch ms, server time. */
  readonly at: number
}
