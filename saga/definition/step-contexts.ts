/** Contexts that the functions of a step receive. */
import type { ContextLogger } from '../../core/logger.ts'
import type { SendingTransaction } from '../../outbox/transaction-with-send.ts'
import type { SagaFailure } from '../machine/state.ts'

/** Context of every function of a step. */
export interface StepContext<Input = unknown, Results extends object = object> {
  readonly saga: string
  readonly sagaId: string
  readonly step: string
  /**
   * `<saga>/<id>/<step>`: the same in every attempt and in the compensation. Use it as the deduplication key. It is unique among
   * the sagas in this service's database. For a system that several services use, add the name of the service, and add `birth` if
   * ids are started again after their sagas were deleted.
   */
  readonly key: string
  /** Distinguishes the saga from a deleted one with the same id. */
  readonly birth: string
  readonly input: Input
  /** Results of the previous steps, as read from the database (JSON). */
  readonly results: Results
  /** Number of the attempt, from 1. A call that the end of its process cut short is repeated under the same number. */
  readonly attempt: number
  /**
   * Aborts when the attempt's time limit passes, the lease is lost or the coordinator closes. Stop then: the call is repeated.
   */
  readonly signal: AbortSignal
  readonly log: ContextLogger
}

export interface CompensationContext<Input = unknown, Results extends object = object, Result = unknown>
  extends StepContext<Input, Results> {
  /** Result of `invoke`; `undefined` when its outcome is unknown, so it may not have happened. */
  readonly result: Result | undefined
  /** Reason why the saga is undone. */
  readonly failure: SagaFailure
}

/** The transaction of a `transactional` step: its effect and the saga's advance commit together. */
export interface WithTransaction {
  /** `tx.send(channel, payload)` sends a message that leaves if and only if this attempt commits. */
  readonly tx: SendingTransaction
}

/** Context of the function that makes a command's request. */
export interface RequestContext<Input = unknown, Results extends object = object> {
  readonly sagaId: string
  readonly key: string
  readonly input: Input
  readonly results: Results
}
