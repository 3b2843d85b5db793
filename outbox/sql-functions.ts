/**
 * Frequent queries as SQL functions: PL/pgSQL keeps the plan of each for the whole session.
 *
 * The functions of a relay read or write only while the caller's lease is in force, which is checked in the same statement.
 *
 * They are functions because of their SET clauses: the statistics of a queue are always outdated, and a planner that expects a
 * nearly empty partition scans and sorts all of it for each window (with 10^6 rows: 4 000 messages/s instead of 50 000). The
 * clauses leave only plans that follow the primary key. They are in PL/pgSQL because it keeps a plan that does not depend on the
 * values: a function in SQL is planned at each call, which takes longer than its work for one row.
 */
const BY_PRIMARY_KEY =
  'SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off'

const PLANNED_ONCE = `${BY_PRIMARY_KEY} SET plan_cache_mode = force_generic_plan`
/** For a join, whose best plan depends on the current number of rows: a plan from a time with few rows reads all of many. */
const PLANNED_EACH_TIME = `${BY_PRIMARY_KEY} SET plan_cache_mode = force_custom_plan`

/** Lets the planner hash the held keys, however many there are; without it, 10^5 of them took half a minute per window. */
const HASH_HELD_KEYS = "SET work_mem = '256MB'"

const LEASE = `SELECT 1 FROM {schema}.outbox_lease
    WHERE partition = p_partition AND owner = p_owner AND epoch = p_epoch`

/**
 * Reading starts after a row given by number and id. While that row exists, a failed-over server cannot have lost the numbers
 * before it and given them to new rows. If it does not exist, reading starts at the first row.
 */
const START = `SELECT coalesce(max(a.seq), 0) FROM {schema}.outbox a
    WHERE a.partition = p_partition AND a.seq = p_after AND a.id = p_after_id`

/**
 * The next rows in the order of `seq`, without those whose key is held back or whose destination and key the caller skips; none
 * if the caller does not hold the lease. One snapshot for rows, held keys and lease guarantees the order.
 */
export const WINDOW_FUNCTION = `
  CREATE FUNCTION {schema}.outbox_window(p_partition int, p_owner text, p_epoch bigint, p_limit int,
    p_skip_destinations text[], p_skip_keys text[], p_away text[], p_after bigint, p_after_id text, p_only text)
  RETURNS SETOF {schema}.outbox LANGUAGE plpgsql STABLE ${PLANNED_ONCE} ${HASH_HELD_KEYS}
  AS $$
  BEGIN
    RETURN QUERY WITH held AS MATERIALIZED (
      SELECT aggregatetype, aggregateid FROM {schema}.outbox
      WHERE partition = p_partition AND next_attempt_at > now() AND aggregateid IS NOT NULL
      UNION ALL SELECT * FROM unnest(p_skip_destinations, p_skip_keys)
    )
    SELECT * FROM {schema}.outbox
    WHERE partition = p_partition AND seq > (${START}) AND (next_attempt_at IS NULL OR next_attempt_at <= now())
      AND (p_only IS NULL OR aggregatetype = p_only) AND aggregatetype NOT IN (SELECT unnest(p_away))
      AND (aggregateid IS NULL OR (aggregatetype, aggregateid) NOT IN (SELECT aggregatetype, aggregateid FROM held))
      AND EXISTS (${LEASE})
    ORDER BY seq LIMIT p_limit;
  END $$`

/** Number of rows that `outbox_pass` reads at once: a tenth of a second. */
const CHUNK = 100_000

/**
 * Reads on through the rows of unavailable destinations, up to the first row of another destination. Returns the last of them
 * (nothing if the next row is of another destination) and whether there may be more. All transactions before `oldest_running` had
 * ended when it started; all that had taken a number below the last row's come before `own`. Reads nothing while a transaction
 * before `p_since` runs.
 */
export const PASS_FUNCTION = `
  CREATE FUNCTION {schema}.outbox_pass(p_partition int, p_after bigint, p_after_id text, p_away text[],
    p_since text, OUT seq text, OUT id text, OUT has_more boolean, OUT oldest_running text, OUT own text)
  LANGUAGE plpgsql ${PLANNED_ONCE}
  AS $$
  DECLARE
    r record;
    n int := 0;
  BEGIN
    oldest_running := pg_snapshot_xmin(pg_current_snapshot())::text;
    IF oldest_running::xid8 < p_since::xid8 THEN
      has_more := false;
      own := p_since;
      RETURN;
    END IF;
    FOR r IN SELECT o.seq, o.id, o.aggregatetype FROM {schema}.outbox o
      WHERE o.partition = p_partition AND o.seq > (${START}) ORDER BY o.seq LIMIT ${CHUNK}
    LOOP
      EXIT WHEN r.aggregatetype <> ALL (p_away);
      seq := r.seq::text;
      id := r.id;
      n := n + 1;
    END LOOP;
    has_more := n = ${CHUNK};
    own := pg_current_xact_id()::text;
  END $$`

/** From this number of rows on, one statement, planned each time, costs less than one statement per row. */
const FEW = 10

/**
 * Deletes published rows. False if the caller does not hold the lease: nothing was deleted. Rows are given by number and id, here
 * and in the functions below: a server that lost its newest commits (a lagging standby, a crash with `synchronous_commit = off`)
 * gives their numbers to other messages.
 */
export const CONFIRM_FUNCTION = `
  CREATE FUNCTION {schema}.outbox_confirm(p_partition int, p_owner text, p_epoch bigint, p_seqs bigint[], p_ids text[])
  RETURNS boolean LANGUAGE plpgsql ${PLANNED_ONCE}
  AS $$
  DECLARE is_ours boolean;
  BEGIN
    IF cardinality(p_seqs) <= ${FEW} THEN
      FOR i IN 1..cardinality(p_seqs) LOOP
        DELETE FROM {schema}.outbox WHERE partition = p_partition AND seq = p_seqs[i] AND id = p_ids[i] AND EXISTS (${LEASE});
      END LOOP;
    ELSE
      -- EXECUTE plans it with the values, so their list is hashed. Not a join: with statistics from when the table was
      -- empty, which is what they are of most of the time, each row would be compared with each value.
      EXECUTE $q$DELETE FROM {schema}.outbox
        WHERE partition = $1 AND seq = ANY ($4) AND seq BETWEEN $5 AND $6 AND (id IN (SELECT unnest($7))) IS TRUE
          AND EXISTS (SELECT 1 FROM {schema}.outbox_lease WHERE partition = $1 AND owner = $2 AND epoch = $3)$q$
        USING p_partition, p_owner, p_epoch, p_seqs, (SELECT min(s) FROM unnest(p_seqs) s), (SELECT max(s) FROM unnest(p_seqs) s),
        p_ids;
    END IF;
    SELECT EXISTS (${LEASE}) INTO is_ours;
    RETURN is_ours;
  END $$`

/**
 * Records failures on their rows; `delayMs` null = parked. Returns as `outbox_confirm`. One statement, so that the reported lease
 * is the one under which it wrote. The list of numbers excludes all other rows from the join, as above.
 */
export const HOLD_FUNCTION = `
  CREATE FUNCTION {schema}.outbox_hold(p_partition int, p_owner text, p_epoch bigint, p_holds json)
  RETURNS boolean LANGUAGE plpgsql ${PLANNED_EACH_TIME}
  AS $$
  DECLARE
    is_ours boolean;
    seqs bigint[] := ARRAY(SELECT seq FROM json_to_recordset(p_holds) AS f(seq bigint));
  BEGIN
    WITH lease AS MATERIALIZED (${LEASE}), held AS (
      UPDATE {schema}.outbox o
      SET attempts = o.attempts + 1, strikes = f.strikes, last_error = f.error,
        parked_at = CASE WHEN f."delayMs" IS NULL THEN clock_timestamp() END,
        next_attempt_at = coalesce(clock_timestamp() + f."delayMs" * interval '1 ms', 'infinity')
      FROM json_to_recordset(p_holds) AS f(seq bigint, id text, strikes int, "delayMs" float8, error text)
      WHERE o.partition = p_partition AND o.seq = ANY (seqs) AND o.seq = f.seq AND o.id = f.id AND EXISTS (SELECT 1 FROM lease)
    )
    SELECT EXISTS (SELECT 1 FROM lease) INTO is_ours;
    RETURN is_ours;
  END $$`

const META = `{schema}.outbox_meta meta`
const META_FITS = 'meta.partitions = p_partitions AND (meta.service IS NULL OR meta.service = p_service)'
/** Deliberately not a number: the resulting error is how the caller recognizes it. */
const FAILS_AS_LAST = `IF p_is_last THEN
      RAISE invalid_text_representation USING MESSAGE =
        (SELECT json_build_object('partitions', max(partitions), 'service', max(service))::text FROM {schema}.outbox_meta);
    END IF;`

/**
 * Writes a message and returns the number of messages written. If the tables have another number of partitions, or belong to
 * another service, that is 0; or it fails with the content of `outbox_meta` if the transaction must not be committed. It is a
 * function only for its plan: planning the INSERT at each call takes longer than running it.
 */
export const ADD_FUNCTION = `
  CREATE FUNCTION {schema}.outbox_add(p_partitions int, p_service text, p_is_last boolean, p_partition int,
    p_id text, p_aggregatetype text, p_aggregateid text, p_type text, p_payload bytea, p_source text, p_content_type text,
    p_headers json, p_time bigint)
  RETURNS int LANGUAGE plpgsql
  AS $$
  BEGIN
    INSERT INTO {schema}.outbox (partition, id, aggregatetype, aggregateid, type, payload, source, content_type, headers, time)
    SELECT p_partition, p_id, p_aggregatetype, p_aggregateid, p_type, p_payload, p_source, p_content_type, p_headers, p_time
    FROM ${META} WHERE ${META_FITS};
    IF FOUND THEN
      RETURN 1;
    END IF;
    ${FAILS_AS_LAST}
    RETURN 0;
  END $$`

/** Like `outbox_add` for several messages, all or none, numbered in their order. Payloads are base64. */
export const ADD_MANY_FUNCTION = `
  CREATE FUNCTION {schema}.outbox_add_many(p_partitions int, p_service text, p_is_last boolean, p_partition int[],
    p_id text[], p_aggregatetype text[], p_aggregateid text[], p_type text[], p_payload text[], p_source text[],
    p_content_type text[], p_headers text[], p_time text[])
  RETURNS int LANGUAGE plpgsql
  AS $$
  DECLARE written int;
  BEGIN
    INSERT INTO {schema}.outbox (partition, id, aggregatetype, aggregateid, type, payload, source, content_type, headers, time)
    SELECT m.partition, m.id, m.destination, m.key, m.type, decode(m.payload, 'base64'), m.source, m.content_type,
      m.headers::json, m.time::bigint
    FROM unnest(p_partition, p_id, p_aggregatetype, p_aggregateid, p_type, p_payload, p_source, p_content_type, p_headers,
      p_time) WITH ORDINALITY
      AS m(partition, id, destination, key, type, payload, source, content_type, headers, time, n)
    JOIN ${META} ON ${META_FITS} ORDER BY m.n;
    GET DIAGNOSTICS written = ROW_COUNT;
    IF written = 0 THEN
      ${FAILS_AS_LAST}
    END IF;
    RETURN written;
  END $$`
