/** Sagas for an operator who has the database and none of the code. */
import { quoteIdentifier } from 'concordat/core'
import { optionNames, ownQuery, refuseUnknown, stored } from 'concordat/extension'
import { type OperatorRecords, requireNote, requireTarget } from 'concordat/operator'
import { SagaError } from 'concordat/saga'
import type { OperatorNote } from 'concordat/saga/coordinator'
import type { OperatorAction, SagaActionResult, SagaTarget, StepState, TimelineRow } from '../engine-types.ts'
import {
  type ChosenSaga,
  checkBulk,
  keyOf,
  requireOutcome,
  type SagaBulk,
  type SagaSeen,
  type SagaWait,
  seenOf,
  waitOf,
} from './saga-action-options.ts'
import {
  countOpen,
  listSagas,
  type SagaCounts,
  type SagaLine,
  type SagaListOptions,
  type SagaPage,
  type SagaTable,
} from './saga-list.ts'

/** A step, as shown to an operator. */
export interface SagaStepView extends Pick<StepState, 'step' | 'status' | 'attempts' | 'wait' | 'error'> {
  /** Number of calls: `attempts` counts those of the present operation, and starts again when a step is undone. */
  readonly tried: number
  /** Only with `payloads`. */
  readonly result?: unknown
}

/** Everything known about a saga. */
export interface SagaView extends Omit<SagaLine, 'waitingOn' | 'pendingActions'> {
  readonly steps: readonly SagaStepView[]
  readonly timeline: readonly TimelineRow[]
  /** Actions in the row that no instance has applied yet. */
  readonly pending: ReadonlyArray<{ readonly action: string; readonly by: string; readonly reason: string }>
  /** Only with `payloads`. */
  readonly input?: unknown
}

/** Result of a bulk action. */
export interface SagaBulkReport {
  readonly dryRun: boolean
  readonly results: readonly SagaActionResult[]
  /** The sagas of `results` as they were seen, for `among` of the call that acts. */
  readonly chosen: readonly ChosenSaga[]
  /** More sagas may match than `limit` allowed. */
  readonly more: boolean
}

/** Lists and settles sagas. Every action has a person and a reason; both are in the saga's timeline. */
export interface SagaAdmin {
  /** Oldest first, unless `order` says otherwise. @throws TypeError / RangeError naming what is wrong; `core.tables_missing` */
  list(options?: SagaListOptions): Promise<SagaPage>
  /** Counts open sagas. @throws `core.tables_missing` */
  count(): Promise<SagaCounts>
  /** @throws `saga.not_found` */
  show(target: SagaTarget, options?: { readonly payloads?: boolean | undefined }): Promise<SagaView>
  /** Calls the stuck step again. @throws `saga.not_found`, `saga.action_refused` (also those below) */
  retry(target: SagaTarget, note: OperatorNote & SagaWait & SagaSeen): Promise<SagaActionResult>
  /** Marks the step as done (forward, with `result`) or as undone (backward), without a call. */
  skip(
    target: SagaTarget,
    note: OperatorNote & SagaWait & SagaSeen & { readonly result?: unknown },
  ): Promise<SagaActionResult>
  /** For a saga stuck on its pivot: the pivot certainly did not happen, so undo the steps before it. */
  compensate(target: SagaTarget, note: OperatorNote & SagaWait & SagaSeen): Promise<SagaActionResult>
  /** Starts the compensation of a running saga. */
  cancel(target: SagaTarget, note: OperatorNote & SagaWait): Promise<SagaActionResult>
  /** Ends a stuck saga that was settled manually. Applied at once, even if no instance has its version. */
  resolve(
    target: SagaTarget,
    note: OperatorNote & SagaSeen & { readonly outcome: 'completed' | 'compensated' },
  ): Promise<SagaActionResult>
  /** The same for all that match. Continues after a refused one. */
  bulk(order: SagaBulk): Promise<SagaBulkReport>
}

const MAX_RESULT_BYTES = 1_024 * 1_024
const CANCEL_NAMES = optionNames<OperatorNote & SagaWait>({ by: true, reason: true, waitMs: true })
const SEEN_NAMES = new Set([...CANCEL_NAMES, 'step', 'timesStuck'])
const SKIP_NAMES = new Set([...SEEN_NAMES, 'result'])
const RESOLVE_NAMES = new Set(['by', 'reason', 'outcome', 'step', 'timesStuck'])
export class SqlSagaAdmin implements SagaAdmin {
  readonly #records: OperatorRecords['sagas']
  readonly #table: SagaTable

  constructor({ sql, schema, sagas }: OperatorRecords) {
    this.#records = sagas
    const query = ownQuery(schema, 'coordinator.migrate()')
    this.#table = { sql, query, table: `${quoteIdentifier(schema)}.saga`, failure: sagas.failure }
  }

  async list(options: SagaListOptions = {}): Promise<SagaPage> {
    return listSagas(this.#table, options)
  }

  async count(): Promise<SagaCounts> {
    return countOpen(this.#table)
  }

  async show(
    target: SagaTarget,
    { payloads = false }: { readonly payloads?: boolean | undefined } = {},
  ): Promise<SagaView> {
    const key = requireTarget('sagas.show', target)
    const record = await this.#records.read(key)
    if (record === undefined) throw new SagaError('saga.not_found', { saga: key.name, id: key.id })
    const { state, version, failure, owner, startedAt, changedAt, timeline, pending, input } = record
    return {
      saga: key.name,
      id: key.id,
      version,
      status: state.status,
      failure: failure ?? null,
      owner,
      startedAt,
      changedAt,
      steps: state.steps.map((step) => viewOf(step, timeline, payloads)),
      timesStuck: state.timesStuck ?? 0,
      timeline,
      pending,
      ...(payloads && { input }),
    }
  }

  retry(target: SagaTarget, note: OperatorNote & SagaWait & SagaSeen): Promise<SagaActionResult> {
    return this.#act(target, { do: 'retry' }, note, SEEN_NAMES)
  }

  async skip(
    target: SagaTarget,
    note: OperatorNote & SagaWait & SagaSeen & { readonly result?: unknown },
  ): Promise<SagaActionResult> {
    const result = stored('result of skip', note?.result, MAX_RESULT_BYTES)
    return this.#act(target, { do: 'skip', ...(result !== undefined && { result }) }, note, SKIP_NAMES)
  }

  compensate(target: SagaTarget, note: OperatorNote & SagaWait & SagaSeen): Promise<SagaActionResult> {
    return this.#act(target, { do: 'compensate' }, note, SEEN_NAMES)
  }

  cancel(target: SagaTarget, note: OperatorNote & SagaWait): Promise<SagaActionResult> {
    return this.#act(target, { do: 'cancel' }, note, CANCEL_NAMES)
  }

  async resolve(
    target: SagaTarget,
    note: OperatorNote & SagaSeen & { readonly outcome: 'completed' | 'compensated' },
  ): Promise<SagaActionResult> {
    const outcome = requireOutcome('resolve.outcome', note?.outcome)
    return this.#act(target, { do: 'resolve', outcome }, note, RESOLVE_NAMES)
  }

  async bulk(order: SagaBulk): Promise<SagaBulkReport> {
    const { action, filter, among, dryRun, limit, waitMs, by, reason } = checkBulk(order)
    const { sagas, next } = await listSagas(
      this.#table,
      { ...filter, status: this.#records.statusFor(action), limit },
      among,
    )
    const shown = new Map(among?.map((each) => [keyOf(each), each]))
    const chosen = sagas.map(({ saga, id, waitingOn: [step], timesStuck }) => {
      const now = { saga, id, step, timesStuck }
      return shown.get(keyOf(now)) ?? now
    })
    const results = dryRun
      ? sagas.map(({ saga, id, status }) => ({ saga, id, status, action: action.do, outcome: 'would' as const }))
      : await this.#records.act(
          chosen.map(({ saga, id, step, timesStuck }) => ({ name: saga, id, seen: { step, timesStuck } })),
          { action, by, reason },
          waitMs,
        )
    return { dryRun, results, chosen, more: next !== null && among === undefined }
  }

  async #act(
    target: SagaTarget,
    action: OperatorAction,
    note: OperatorNote & SagaWait & SagaSeen,
    names: ReadonlySet<string>,
  ): Promise<SagaActionResult> {
    const key = requireTarget(action.do, target)
    const { by, reason } = requireNote(action.do, note)
    refuseUnknown(action.do, note, names)
    const seen = seenOf(action.do, note)
    const [result] = await this.#records.act([{ ...key, seen }], { action, by, reason }, waitOf(action.do, note))
    if (result === undefined) throw new SagaError('saga.not_found', { saga: key.name, id: key.id })
    if (result.outcome === 'refused')
      throw new SagaError('saga.action_refused', {
        saga: key.name,
        id: key.id,
        action: action.do,
        why: result.why ?? '',
      })
    return result
  }
}

/** A failed call is a line of the timeline. */
const FAILED: ReadonlySet<string> = new Set(['failed', 'timed-out'])

function viewOf(
  { step, status, attempts, wait, error, result }: StepState,
  timeline: readonly TimelineRow[],
  payloads: boolean,
): SagaStepView {
  const failed = timeline.filter((entry) => entry.step === step && FAILED.has(entry.kind))
  const tried = Math.max(attempts, failed.length)
  return {
    step,
    status,
    attempts,
    tried,
    ...(wait !== undefined && { wait }),
    ...(error !== undefined && { error }),
    ...(payloads && result !== undefined && { result }),
  }
}
