/** Wakes relays in other processes with a debounced `NOTIFY`, never inside a business transaction. */
import { systemClock } from '../core/clock.ts'
import { debouncedNotify, notifyChannelOf } from '../core/debounced-sql-notify.ts'
import type { SqlClient } from '../core/sql.ts'

/** The notification channel of an outbox. The payload lists partitions (`0,3`); if it is empty, all partitions are meant. */
export function notifyChannel(schema: string): string {
  return notifyChannelOf('outbox', schema)
}

export function partitionsOfPayload(payload: string): ReadonlySet<number> | undefined {
  return payload === '' ? undefined : new Set(payload.split(',').map(Number))
}

/** A listener for `onAdded` that notifies the relays at most once per `everyMs`. */
export function notifier(sql: SqlClient, schema: string, everyMs: number): (partitions: ReadonlySet<number>) => void {
  const notify = debouncedNotify(sql, notifyChannel(schema), everyMs, systemClock)
  return (partitions) => notify(Array.from(partitions, String))
}
