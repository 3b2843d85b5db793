/**
 * A participant of `.tcc` that consists of one function: the database keeps its writes, invisible and locked, until the saga is decided
 * (`PREPARE TRANSACTION`, `XA PREPARE`), and then commits or rolls them back, on any connection of any instance.
 *
 *   try       begun (a commit) -> handler -> prepared -> answered (a commit)
 *   confirm   COMMIT PREPARED  -> answered (a commit)
 *   cancel    refused from here on (a commit) -> ROLLBACK PREPARED -> answered (a commit)
 *
 * A process may die between any two of these: the next one that gets the command continues. No clock is trusted. Not guaranteed: that
 * branches of one saga become visible at one instant.
 *
 * @see docs/transactions/xa-and-undo.md, "XA"
 */

import type { NameOptions } from '../../binder/bindings/binding-name-types.ts'
import type { SinkBinding } from '../../binder/bindings/declarations.ts'
import { type Channel, requireChannel } from '../../binder/channel/channel.ts'
import { SECOND, systemClock } from '../../core/clock.ts'
import { invalidOption, requireInteger } from '../../core/errors.ts'
import { hasMethods, optionNames, refuseUnknown, wrongKind } from '../../core/option-checks.ts'
import { PREPARING_IS_OFF, type SqlClient, type SqlTransaction } from '../../core/sql.ts'
import { SqlError } from '../../core/sql-error.ts'
import { participantBinding } from '../participant/binding.ts'
import type { ParticipantContext } from '../participant/context.ts'
import { PARTICIPANT_OPTIONS, type ParticipantOptions } from '../participant/options.ts'
import { RowWaitLimit } from '../participant/row-wait-limit.ts'
import { TCC } from '../wire/wire.ts'
import { BarrierRows } from './barrier-rows.ts'
import { xaDuties } from './operation-handlers.ts'
import { OwnGate, type PreparingClient, ResourceGate } from './prepared-branch-gate.ts'
import type { XaResource } from './resource.ts'

/** Options of `xaParticipant`: those of `participant`. Each command has a transaction of its own, none is shared. */
export interface XaParticipantOptions extends Omit<ParticipantOptions, 'effects' | 'sharesTransactions'> {
  /**
   * How long a statement of the handler waits for a row, in ms: another saga may hold it until it is decided. Then the call
   * failed, and the saga's `retry` follows. At most half of `concurrency` wait so long, rounded down, and any other call 50 ms: what
   * confirms the other saga is not kept waiting behind them. Participants of one `SqlClient`, or of one resource, share these
   * places: as many as the largest of them has. @default 5 seconds
   */
  readonly lockTimeoutMs?: number | undefined
}

/** Options of `xaParticipant` with a `resource`: the effect is there, and the barrier and the replies stay in `sql`. */
export interface XaResourceOptions<Tx> extends XaParticipantOptions {
  /** A database beside `sql`, such as `mysqlResource(pool)` of `@concordat/mysql`. */
  readonly resource: XaResource<Tx>
}

/** Context of an XA participant's handler with a `resource`, beside the request. `tx` is the resource's. */
export interface XaContext<Tx> extends Omit<ParticipantContext, 'tx'> {
  /** Write the effect through it; have no other effect, or deduplicate that by `key`. */
  readonly tx: Tx
}

/**
 * Handler of an XA participant. All its writes go through `tx`, which commits when the saga is decided. Returns the reply's
 * result (JSON). Throw a `Refusal` to refuse, having done nothing. Called again after a failure, and after its process died; the
 * writes of the previous call are rolled back.
 */
export type XaHandler<Request, Result = unknown, Tx = SqlTransaction> = (
  request: Request,
  context: XaContext<Tx>,
) => Result | Promise<Result>

const { effects: _, sharesTransactions: __, ...OWN_OPTIONS } = PARTICIPANT_OPTIONS
const NAMES = optionNames<XaResourceOptions<never>>({ ...OWN_OPTIONS, lockTimeoutMs: true, resource: true })
const LOCK_TIMEOUT_MS = 5 * SECOND
const MAX_LOCK_TIMEOUT_MS = 2 ** 31 - 1

/**
 * Creates a sink for the command channel of a `.tcc` step or of a branch, which treat it as a `tccParticipant`. Add the reply
 * channel to the binder's `sends`: `sagaReplies('orders')`. The tables are created by `migrateParticipant`. The server needs
 * `max_prepared_transactions`; without it the binding does not start (`core.sql_cannot_prepare`, in its health).
 *
 * With a `resource` the effect is in that database instead, and `sql` prepares nothing, so it may be PGlite.
 * @throws `core.sql_cannot_prepare` when the `SqlClient` cannot prepare; TypeError / RangeError naming the option
 */
export function xaParticipant<
  In,
  Out,
  Result,
  At extends string = string,
  Group extends string = string,
  Name extends string = `${At}.${Group}`,
>(
  channel: Channel<In, Out, At>,
  options: XaParticipantOptions & { readonly resource?: undefined } & NameOptions<Group, Name>,
  handler: XaHandler<Out, Result>,
): SinkBinding<NoInfer<Name>>
export function xaParticipant<
  In,
  Out,
  Result,
  Tx,
  At extends string = string,
  Group extends string = string,
  Name extends string = `${At}.${Group}`,
>(
  channel: Channel<In, Out, At>,
  options: XaResourceOptions<Tx> & NameOptions<Group, Name>,
  handler: XaHandler<Out, Result, Tx>,
): SinkBinding<NoInfer<Name>>
export function xaParticipant<In, Out>(
  channel: Channel<In, Out>,
  options: XaParticipantOptions & { readonly resource?: XaResource | undefined },
  handler: XaHandler<Out, unknown, never>,
): SinkBinding {
  const path = `xaParticipant("${requireChannel('xaParticipant', channel).name}")`
  refuseUnknown(path, options, NAMES)
  if (typeof handler !== 'function') throw invalidOption(`${path}.handler`, handler, 'a function')
  const { lockTimeoutMs: asked = LOCK_TIMEOUT_MS, resource, ...rest } = options
  const lockTimeoutMs = requireInteger(`${path}.lockTimeoutMs`, asked, 1, MAX_LOCK_TIMEOUT_MS)
  if (resource !== undefined && !hasMethods(resource, ['prepare', 'look', 'end'])) {
    throw wrongKind(`${path}.resource`, resource, 'what mysqlResource(pool) returns')
  }
  return participantBinding<In, Out>(channel, rest, {
    path,
    kind: TCC,
    duties: (barrier, { sql, given, idleMs, schema, concurrency }) => {
      const rows = new BarrierRows(schema)
      const room = new RowWaitLimit(concurrency, resource ?? given)
      // The operations only pass the transaction to the handler, so its type does not matter to them.
      const elsewhere = resource as XaResource<SqlTransaction> | undefined
      const gate = elsewhere === undefined ? ownGate(sql, rows) : new ResourceGate(sql, rows, elsewhere, idleMs)
      return xaDuties({ sql, rows, barrier, gate, room, lockTimeoutMs, clock: systemClock }, handler as XaHandler<Out>)
    },
    ready: (sql) => (resource === undefined ? requirePreparing(sql) : resource.ready()),
    prepares: (sql) => resource ?? sql,
  })
}

function ownGate(sql: SqlClient, rows: BarrierRows): OwnGate {
  requirePrepare(sql)
  return new OwnGate(sql, rows)
}

/** @throws `core.sql_cannot_prepare` when the client cannot prepare */
function requirePrepare(sql: SqlClient): asserts sql is PreparingClient {
  if (sql.prepare !== undefined) return
  throw new SqlError('core.sql_cannot_prepare', {
    message:
      'this SqlClient cannot prepare transactions: give pgClient(pool) with a PostgreSQL server, or use tccParticipant (PGlite and Kysely cannot)',
  })
}

/** @throws `core.sql_cannot_prepare` */
async function requirePreparing(sql: SqlClient): Promise<void> {
  const { rows } = await sql.query<{ most: number }>(`SELECT current_setting('max_prepared_transactions')::int AS most`)
  if (rows[0]?.most === 0) throw new SqlError('core.sql_cannot_prepare', { message: PREPARING_IS_OFF })
}
