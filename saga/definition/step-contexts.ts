/** Contexts of a step's functions. */
import type { ContextLogger } from '../../core/logger.ts'
import type { SendingTransaction } from '../../outbox/transaction-with-send.ts'
import type { SagaFailure } from '../machine/state.ts'

/** Context of every function of a step. */
export interface StepContext<Input = unknown, Results extends object = object> {
  readonly saga: string
  readonly sagaId: string
  readonly step: string
  /**
   * `<saga>/<id>/<step>`: the same in every attempt and in the compensation. Give it to whatever deduplicates. It is
   * unique among the sagas of this service's database: to a system that several services use give the service's name with
   * it, and `birth` where ids are started again after their sagas were deleted.
   */
  readonly key: string
  /** Tells the saga from an earlier one with its id, that was deleted. */
  readonly birth: string
  readonly input: Input
  /** Results of the steps before this one, as they come back from the database (JSON). */
  readonly results: Results
  /** From 1. A call cut short by the end of its process is made again under its number. */
  readonly attempt: number
  /** Aborts when the attempt's time is up, the lease is lost, or the coordinator closes: stop, the call is repeated. */
  readonly signal: AbortSignal
  readonly log: ContextLogger
}

export interface CompensationContext<Input = unknown, Results extends object = object, Result = unknown>
  extends StepContext<Input, Results> {
  /** Result of `invoke`; `undefined` when its outcome is unknown: then it may never have happened. */
  readonly result: Result | undefined
  /** Why the saga turned back. */
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
