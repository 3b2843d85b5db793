/** Common parts of the SQL functions of our stores. */

/** The SQLSTATE with which functions refuse to run under another isolation than READ COMMITTED, see `store-statement-runner.ts`. */
export const WRONG_ISOLATION = 'CC001'

/** For the beginning of such a function, in plpgsql. */
export const REQUIRE_READ_COMMITTED = `IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'concordat: a step under isolation %, not read committed', current_setting('transaction_isolation')
      USING ERRCODE = '${WRONG_ISOLATION}';
  END IF`

/**
 * The plans of a function follow the indexes, whatever the statistics say; and where there is none to follow, its cost may
 * not have the plan compiled, for half a second.
 */
export const BY_INDEX = 'SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off'

/** The server's clock now, in microseconds. */
export const NOW = '(extract(epoch FROM clock_timestamp()) * 1000000)::bigint'

/** For steps of which nothing is lost but time if a crash of the server undoes them: they do not wait for the disk. */
export const WITHOUT_WAITING = `PERFORM set_config('synchronous_commit', 'off', true)`

/** For all others, whatever the session does. */
export const DURABLY = `IF current_setting('synchronous_commit') = 'off' THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF`

/** Storage of tables whose rows are updated all the time, or live for milliseconds: vacuum comes by number, and never locks to shrink. */
export const BUSY_TABLE = `autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0,
  autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000, vacuum_truncate = false`
