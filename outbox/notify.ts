/** Wakes relays in other processes: one debounced `NOTIFY`, never inside a business transaction. */
import { murmur2 } from '../binder/channel/partition.ts'
import { type Clock, systemClock } from '../core/clock.ts'
import type { SqlClient } from '../core/sql.ts'

const MAX_CHANNEL_BYTES = 63

/** The notification channel of an outbox; the payload lists partitions: `0,3`. */
export function notifyChannel(schema: string): string {
  const bytes = new TextEncoder().encode(schema)
  const plain = `concordat_outbox_${schema}`
  return bytes.length + 17 <= MAX_CHANNEL_BYTES ? plain : `concordat_outbox_#${(murmur2(bytes) >>> 0).toString(16)}`
}

export function partitionsOfPayload(payload: string): ReadonlySet<number> | undefined {
  return payload === '' ? undefined : new Set(payload.split(',').map(Number))
}

/**
 * A listener for `onAdded`: sends at once when the last one is `everyMs` ago, else when it will be. Failures are
 * ignored, the relay polls anyway.
 */
export function notifier(
  sql: SqlClient,
  schema: string,
  everyMs: number,
  clock: Clock = systemClock,
): (partitions: ReadonlySet<number>) => void {
  const channel = notifyChannel(schema)
  const pending = new Set<number>()
  let busy = false
  const flush = (): void => {
    if (pending.size === 0) {
      busy = false
      return
    }
    busy = true
    const payload = [...pending].join(',')
    pending.clear()
    const wait = (): void => void clock.setTimer(everyMs, flush)
    sql.query('SELECT pg_notify($1, $2)', [channel, payload]).then(wait, wait)
  }
  return (partitions) => {
    for (const partition of partitions) pending.add(partition)
    if (!busy) flush()
  }
}
