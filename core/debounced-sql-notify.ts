/** Wakes other processes with a debounced `NOTIFY`, never inside a business transaction. */
import { createHash } from 'node:crypto'
import { BatchedCalls } from './batched-calls.ts'
import type { Clock } from './clock.ts'
import type { SqlExecutor } from './sql.ts'

const MAX_CHANNEL_BYTES = 63

/** A notification channel for one part in one schema: `concordat_transport_concordat`. */
export function notifyChannelOf(part: string, schema: string): string {
  const plain = `concordat_${part}_${schema}`
  if (Buffer.byteLength(plain) <= MAX_CHANNEL_BYTES) return plain
  return `concordat_${part}_#${createHash('sha256').update(schema).digest('hex').slice(0, 16)}`
}

/** The server accepts less than 8 000 bytes. */
const MAX_PAYLOAD = 7_900

/**
 * Sends items as one payload, joined with commas (`''` if there are too many, meaning: check everything). Sends at once if the
 * last payload was sent at least `everyMs` ago, otherwise at that time. Each item once. Ignores failures, because listeners also
 * poll.
 */
export function debouncedNotify(
  sql: SqlExecutor,
  channel: string,
  everyMs: number,
  clock: Clock,
): (items: Iterable<string>) => void {
  const gathered = new BatchedCalls<string>(
    (items) => {
      const list = items.join(',')
      return sql.query('SELECT pg_notify($1, $2)', [channel, list.length <= MAX_PAYLOAD ? list : ''])
    },
    (next) => void clock.setTimer(everyMs, next),
  )
  return (items) => {
    for (const item of items) gathered.add(item, item)
    gathered.flush()
  }
}
