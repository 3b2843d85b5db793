/** Common parts of the SQL functions of our stores. */

/**
 * The SQLSTATE with which functions refuse to run under an isolation other than READ COMMITTED, see `store-statement-runner.ts`.
 */
export const WRONG_ISOLATION = 'CC001'

/** For the start of such a function, in plpgsql. */
export const REQUIRE_READ_COMMITTED = `IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'concordat: a step under isolation %, not read committed', current_setting('transaction_isolation')
      USING ERRCODE = '${WRONG_ISOLATION}';
  END IF`

/**
 * Forces the plans of a function to use indexes, whatever the statistics say; and if there is no index to use, keeps the server
 * from compiling the plan, which takes half a second.
 */
export const BY_INDEX = 'SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off'

/** The server's current time, in microseconds. */
export const NOW = '(extract(epoch FROM clock_timestamp()) * 1000000)::bigint'

/** For steps whose loss in a crash of the server costs only time: they do not wait for the disk. */
export const WITHOUT_WAITING = `PERFORM set_config('synchronous_commit', 'off', true)`

/** For all other steps, whatever the session's setting. */
export const DURABLY = `IF current_setting('synchronous_commit') = 'off' THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF`

/**
 * Storage of tables whose rows are updated all the time, or live for milliseconds: vacuum is triggered by row count, and never
 * locks the table to shrink it.
 */
export const BUSY_TABLE = `autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0,
  autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000, vacuum_truncate = false`
