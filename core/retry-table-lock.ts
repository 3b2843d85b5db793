/**
 * Waits for a table lock in short attempts. A pending ACCESS EXCLUSIVE lock blocks all later readers and writers, so a schema
 * change that waits for long would stop them.
 */
import { backoffDelayMs } from './backoff.ts'
import { SECOND, systemClock } from './clock.ts'
import { hasCode } from './errors.ts'
import type { SqlExecutor } from './sql.ts'

/** In ms. */
export interface LockWait {
  /** How long one attempt waits: the attempt sets it as `lock_timeout`. */
  readonly lockTimeoutMs: number
  /** Total time of all attempts. */
  readonly waitMs: number
}

export const LOCK_WAIT: LockWait = { lockTimeoutMs: 2 * SECOND, waitMs: 30 * SECOND }
/** During the pauses, those who wait behind it get their turn. */
const PAUSE = { initialMs: 100, factor: 2, maxMs: 4 * SECOND, jitter: 0.2 }
const LOCK_NOT_AVAILABLE = '55P03'

/**
 * Runs `work`, one transaction, and retries it while it fails because of a held lock.
 * @throws the result of `blocked` for the last such error after `waitMs`; any other error of `work`
 */
export async function untilFree<T>(
  { waitMs }: LockWait,
  work: () => Promise<T>,
  blocked: (cause: unknown) => Promise<Error>,
): Promise<T> {
  const deadline = systemClock.monotonic() + waitMs
  for (let tries = 1; ; tries++) {
    try {
      return await work()
    } catch (error) {
      if (!hasCode(error, LOCK_NOT_AVAILABLE)) throw error
      if (systemClock.monotonic() >= deadline) throw await blocked(error)
    }
    await systemClock.sleep(backoffDelayMs(PAUSE, tries, Math.random()))
  }
}

/**
 * Describes who holds tables, at most five holders, without statement texts, which may contain secrets.
 * @param which a condition on `pg_locks` k, its `pg_class` c and `pg_namespace` n, with `$1`
 */
export async function holdersOf(sql: SqlExecutor, which: string, value: unknown): Promise<readonly string[]> {
  const { rows } = await sql.query<{ line: string }>(
    `SELECT CASE WHEN p.gid IS NOT NULL
         THEN format('prepared transaction %s since %s s', p.gid, round(extract(epoch FROM clock_timestamp() - p.prepared)))
         ELSE format('session %s of "%s", %s, since %s s', l.pid, a.application_name, a.state,
           round(extract(epoch FROM clock_timestamp() - a.xact_start))) END AS line
     FROM (SELECT DISTINCT pid, virtualtransaction FROM pg_locks k
           LEFT JOIN pg_class c ON c.oid = k.relation LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE (${which}) AND k.granted AND k.pid IS DISTINCT FROM pg_backend_pid()
             AND k.database = (SELECT oid FROM pg_database WHERE datname = current_database())) l
     LEFT JOIN pg_locks x ON l.pid IS NULL AND x.pid IS NULL AND x.locktype = 'transactionid'
       AND x.virtualtransaction = l.virtualtransaction
     LEFT JOIN pg_prepared_xacts p ON p.transaction = x.transactionid
     LEFT JOIN pg_stat_activity a ON a.pid = l.pid
     WHERE p.gid IS NOT NULL OR a.pid IS NOT NULL
     ORDER BY coalesce(p.prepared, a.xact_start) LIMIT 5`,
    [value],
  )
  return rows.map(({ line }) => line)
}
