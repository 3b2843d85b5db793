/** A handle on one saga, and the outcome of the saga. */
import { resultsByName } from '../definition/results-by-name.ts'
import type { Saga } from '../definition/saga-definition-types.ts'
import { SagaError } from '../errors.ts'
import type { SagaFailure, SagaStatus, StepState } from '../machine/state.ts'
import type { ReportedSaga, SagaKey, SagaRow, TimelineRow } from '../store/store-types.ts'
import { allResultsOf } from './outcome-to-event.ts'
import type { OutcomeOptions, OutcomeWaiters } from './outcome-waiters.ts'

/** How a saga ended. `stuck` is not an end: an operator has to act, after which `outcome()` can be called again. */
export type SagaOutcome<Results extends object = object> =
  | { readonly status: 'completed'; readonly results: Results; readonly timeline: readonly TimelineRow[] }
  | {
      readonly status: 'compensated' | 'stuck'
      /** Results of the steps that have one. */
      readonly results: Partial<Results>
      /** The first step that refused or failed, and the reason. */
      readonly failure: SagaFailure
      readonly timeline: readonly TimelineRow[]
    }

/** Current state of a saga. */
export interface SagaReport {
  readonly saga: string
  readonly id: string
  readonly version: number
  readonly status: SagaStatus
  readonly failure: SagaFailure | undefined
  readonly steps: readonly StepState[]
  readonly timeline: readonly TimelineRow[]
}

/** A handle on one saga. */
export interface SagaRun<Results extends object = object> {
  readonly saga: string
  readonly id: string
  /**
   * Resolves when the saga has ended or is stuck, whichever instance wrote that. A result that this release's schema refuses is
   * returned as stored.
   * @throws `saga.pending` after `timeoutMs`; `saga.not_found` after 30 s without a saga with this id, unless `timeoutMs` is
   * given; the reason of the signal; `saga.closed`
   */
  outcome(options?: OutcomeOptions): Promise<SagaOutcome<Results>>
  /** The current report. @throws `saga.not_found` */
  report(): Promise<SagaReport>
}

/** Source of the saga for a handle. */
export interface RunSource {
  readonly outcomes: OutcomeWaiters
  /** Returns the saga's current state; `undefined` when there is none. */
  read(key: SagaKey): Promise<ReportedSaga | undefined>
  /** Returns the definition of a version; `undefined` when it is not loaded. */
  definition(row: { readonly name: string; readonly version: number }): Saga | undefined
}

export function createRun<Results extends object>(source: RunSource, name: string, id: string): SagaRun<Results> {
  return Object.freeze({
    saga: name,
    id,
    outcome: (options?: OutcomeOptions) => outcomeOf<Results>(source, { name, id }, options),
    report: () => reportOf(source, { name, id }),
  })
}

async function outcomeOf<Results extends object>(
  source: RunSource,
  key: SagaKey,
  options: OutcomeOptions | undefined,
): Promise<SagaOutcome<Results>> {
  const patience = source.outcomes.patience(options)
  for (;;) {
    await source.outcomes.wait(key, patience)
    const row = await read(source, key)
    const { timeline, state } = row
    const { status, failure } = state
    if (status === 'running' || status === 'compensating') continue // an operator was quicker
    const results = (await knownResults(source, row)) as Results
    if (status === 'completed') return { status, results, timeline }
    return { status, results, timeline, failure: failure ?? { step: '', code: 'saga.unknown', message: '' } }
  }
}

async function reportOf(source: RunSource, key: SagaKey): Promise<SagaReport> {
  const { version, state, timeline } = await read(source, key)
  const { status, failure, steps } = state
  return { saga: key.name, id: key.id, version, status, failure, steps, timeline }
}

async function read(source: RunSource, key: SagaKey): Promise<ReportedSaga> {
  const row = await source.read(key)
  if (row === undefined) throw new SagaError('saga.not_found', { saga: key.name, id: key.id })
  return row
}

async function knownResults(source: RunSource, row: SagaRow): Promise<object> {
  const saga = source.definition(row)
  if (saga !== undefined) return allResultsOf(saga, row.state)
  return resultsByName(row.state.steps)
}
