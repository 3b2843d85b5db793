/** Ended sagas that the option `archive` receives before they are deleted. */
import type { SqlTransaction } from '../../core/sql.ts'
import type { SagaFailure, StepState } from '../machine/state.ts'
import type { TimelineRow } from '../store/store-types.ts'

/** Complete stored state of a saga. */
export interface ArchivedSaga {
  readonly saga: string
  readonly id: string
  readonly version: number
  readonly status: 'completed' | 'compensated'
  readonly failure: SagaFailure | undefined
  readonly input: unknown
  readonly steps: readonly StepState[]
  readonly timeline: readonly TimelineRow[]
  /** Epoch ms, server time. */
  readonly startedAt: number
  readonly endedAt: number
}

/**
 * Called before sagas are deleted, with at most 200 at a time. Rows that it writes through `tx` commit if and only if the sagas
 * are deleted; its other effects may be repeated. If it throws, the sagas are kept, and the coordinator passes them again in
 * halves, so that only the sagas that it refuses on their own remain.
 */
export type Archive = (sagas: readonly ArchivedSaga[], context: { readonly tx: SqlTransaction }) => void | Promise<void>
