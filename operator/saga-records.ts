import { systemClock } from '../core/clock.ts'
import { ownQuery, quoteIdentifier, type SqlClient } from '../core/sql.ts'
import type { OperatorAction } from '../saga/machine/event.ts'
import { failureOf, type SagaFailure, type SagaState, type SagaStatus } from '../saga/machine/state.ts'
import { FAILURE, SagaReads } from '../saga/store/saga-reads.ts'
import { SagaStore } from '../saga/store/store.ts'
import type { SagaKey, TimelineRow } from '../saga/store/store-types.ts'
import {
  type ActionHost,
  actOnAll,
  type SagaActionResult,
  type SagaOrder,
  type SeenSaga,
  statusFor,
} from './queue-saga-actions.ts'

/** A saga from its row and its timeline. */
export interface SagaRecord {
  readonly version: number
  readonly state: SagaState
  readonly failure: SagaFailure | undefined
  readonly input: unknown
  readonly owner: string | null
  /** Epoch ms, server time. */
  readonly startedAt: number
  readonly changedAt: number
  readonly timeline: readonly TimelineRow[]
  /** Operators' actions that no instance has applied yet. */
  readonly pending: ReadonlyArray<{
    readonly action: OperatorAction['do']
    readonly by: string
    readonly reason: string
  }>
}

/** Sagas without their definitions. An action is recorded in the saga's timeline with its operator and reason. */
export interface SagaRecords {
  /** SQL expression over a row of the table `saga`: its failure as JSON, NULL without one. */
  readonly failure: string
  /** Returns the status of sagas that an action applies to. */
  statusFor(action: OperatorAction): SagaStatus
  /** Returns `undefined` when the saga does not exist. @throws `core.tables_missing` */
  read(key: SagaKey): Promise<SagaRecord | undefined>
  /**
   * Acts in the order of `sagas`, and continues after a refusal. A saga that no longer exists has no result.
   * @param waitMs total time to wait until instances have applied the actions
   * @throws `core.tables_missing`
   */
  act(sagas: readonly SeenSaga[], order: SagaOrder, waitMs: number): Promise<readonly SagaActionResult[]>
}

export class SqlSagaRecords implements SagaRecords {
  readonly failure = FAILURE
  readonly #host: ActionHost
  readonly #reports: SagaReads

  constructor(sql: SqlClient, schema: string) {
    const quoted = quoteIdentifier(schema)
    this.#reports = new SagaReads(schema)
    this.#host = {
      sql,
      query: ownQuery(schema, 'coordinator.migrate()'),
      store: new SagaStore(schema),
      saga: `${quoted}.saga`,
      event: `${quoted}.saga_event`,
      clock: systemClock,
    }
  }

  statusFor(action: OperatorAction): SagaStatus {
    return statusFor(action)
  }

  async read(key: SagaKey): Promise<SagaRecord | undefined> {
    const [row] = await this.#reports.read(this.#host.sql, [key])
    if (row === undefined) return undefined
    const { version, state, input, owner, createdAt: startedAt, updatedAt: changedAt, timeline, mail } = row
    const pending = (mail ?? []).flatMap((item) =>
      'operator' in item ? [{ action: item.operator.do, by: item.by, reason: item.reason }] : [],
    )
    return { version, state, failure: failureOf(state), input, owner, startedAt, changedAt, timeline, pending }
  }

  act(sagas: readonly SeenSaga[], order: SagaOrder, waitMs: number): Promise<readonly SagaActionResult[]> {
    return actOnAll(this.#host, sagas, order, waitMs)
  }
}
