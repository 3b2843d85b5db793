/** Dependencies of an XA participant's operations. */
import type { Clock } from '../../core/clock.ts'
import type { SqlClient, SqlTransaction } from '../../core/sql.ts'
import type { Barrier } from '../participant/barrier.ts'
import type { RowWaitLimit } from '../participant/row-wait-limit.ts'
import type { BarrierRows } from './barrier-rows.ts'
import type { Gate } from './prepared-branch-gate.ts'

/** A handler, called with the request. */
export type Handler<Request, Context> = (request: Request, context: Context) => unknown

export interface XaParts {
  readonly sql: SqlClient
  readonly barrier: Barrier
  readonly rows: BarrierRows
  /** Where it prepares. The handler receives its transaction. */
  readonly gate: Gate<SqlTransaction>
  /** Limit for calls that wait for a row. */
  readonly room: RowWaitLimit
  readonly clock: Clock
  readonly lockTimeoutMs: number
}
