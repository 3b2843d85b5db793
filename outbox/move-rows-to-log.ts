/**
 * Moves rows of the outbox into a log in the same database: one transaction deletes the rows and publishes their messages, so
 * that each message is in the log once. Such rows were added before the channel's messages went directly to the log.
 */
import type { SpecOf } from '../binder/bindings/inbox.ts'
import { TransportError } from '../binder/errors.ts'
import {
  assumedSpec,
  specOf as declaredSpec,
  type SendDestination,
} from '../binder/sending/destination-provisioning.ts'
import type { DestinationSpec, PublishOutcome, Transport } from '../binder/transport/transport.ts'
import { SECOND } from '../core/clock.ts'
import { toError } from '../core/errors.ts'
import { limitedTransaction } from '../core/idle-limited-transaction.ts'
import type { SqlClient, SqlTransaction } from '../core/sql.ts'
import { writeFault } from '../core/write-fault.ts'
import { judge, type WindowRow } from './publish-window.ts'

/** The transport whose log is in the outbox's database and has this destination. */
export type LogOf = (destination: string) => Pick<Transport, 'name' | 'publishIn'> | undefined

/** The logs of each outbox that has a transport. */
const logs: WeakMap<object, LogOf> = new WeakMap()

export function hasLogs(outbox: object, logOf: LogOf): void {
  logs.set(outbox, logOf)
}

export function logsOf(outbox: object): LogOf {
  return logs.get(outbox) ?? (() => undefined)
}

/**
 * The spec of a destination that does not exist yet; a destination that is not declared keeps its original number of partitions.
 */
export function specOf(name: string, place?: SendDestination | SpecOf): DestinationSpec {
  if (typeof place === 'function') return place(name)
  return place === undefined ? assumedSpec(name) : declaredSpec({ ...place, name })
}

/** The server ends a move whose process is suspended for this long, because the next relay waits for its rows. */
const IDLE_MS = 10 * SECOND

export interface RowMove {
  readonly sql: SqlClient
  /** Deletes rows under the caller's lease. @returns the numbers of the rows that existed */
  readonly take: (tx: SqlTransaction, rows: readonly WindowRow[]) => Promise<ReadonlySet<string>>
  readonly log: Pick<Transport, 'name' | 'publishIn'>
}

/**
 * Moves rows of one destination. A missing row counts as moved: another relay moved it, or an operator dropped it. If the log
 * refuses a message, the list is halved repeatedly until that message is alone.
 * @returns one outcome per row. Never rejects
 */
export async function moveRows(move: RowMove, rows: readonly WindowRow[]): Promise<readonly PublishOutcome[]> {
  try {
    await limitedTransaction(move.sql, IDLE_MS, async (tx) => {
      const taken = await move.take(tx, rows)
      const messages = rows.filter(({ seq }) => taken.has(seq)).map(({ message }) => message)
      if (messages.length > 0) await move.log.publishIn?.(tx, messages, (name) => specOf(name))
    })
    return rows.map(() => undefined)
  } catch (cause) {
    const error = transportError(move.log.name, cause)
    const verdict = judge(error)
    if (rows.length === 1 || verdict === 'outage' || verdict === 'wait') return rows.map(() => error)
    const half = rows.length >> 1
    return [...(await moveRows(move, rows.slice(0, half))), ...(await moveRows(move, rows.slice(half)))]
  }
}

function transportError(transport: string, cause: unknown): TransportError {
  if (cause instanceof TransportError) return cause
  const kind = writeFault(cause) === 'permanent' ? 'mismatch' : 'unavailable'
  return new TransportError({ transport, kind, message: `could not move to the log: ${toError(cause).message}`, cause })
}
