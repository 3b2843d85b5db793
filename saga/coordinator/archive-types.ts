/** Ended sagas, as the option `archive` receives them before they are deleted. */
import type { SqlTransaction } from '../../core/sql.ts'
import type { SagaFailure, StepState } from '../machine/state.ts'
import type { TimelineRow } from '../store/store-types.ts'

/** Everything there was of a saga. */
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
 * Called before sagas are deleted, at most 200 at a time. What it writes through `tx` is there exactly if they are
 * deleted; anything else it does may happen again. What it throws keeps them: they are given to it again in halves, so that only
 * those stay that it does not take alone.
 */
export type Archive = (sagas: readonly ArchivedSaga[], context: { readonly tx: SqlTransaction }) => void | Promise<void>
