/** SQL functions that keep the log small: the ring of segments, and repairs of a restored dump. */
import { BY_INDEX, lockOf, PARTITION_LOCK, TICK_SIZE } from './functions.ts'

/** Returns a table of the schema by its name, for statements built as text, where the schema's name would need quoting. */
const tableOf = (name: string): string =>
  `(SELECT c.oid::regclass FROM pg_catalog.pg_class c JOIN pg_catalog.pg_class r ON r.relnamespace = c.relnamespace
      WHERE r.oid = (SELECT tableoid FROM {schema}.transport_ring) AND c.relname = ${name})`
const SEGMENT_OF = tableOf(`'transport_log_' || k`)

/**
 * Closes the segment being written when it is large or old enough and another one is empty; otherwise it grows. One process at a
 * time. Closes every other segment that is not empty. A time in the future was written before the server's clock was set back, or
 * by another server: it counts from now, or no segment could be freed until the clock has caught up. Returns the segments that
 * have been closed long enough to be freed; none of a restored log, which contains messages without a position that only
 * \`repair\` finds.
 */
const ROTATE = `
  CREATE FUNCTION {schema}.transport_rotate(p_bytes bigint, p_ms bigint, p_retention_ms bigint) RETURNS SETOF smallint LANGUAGE plpgsql
  AS $transport$
  DECLARE k smallint; empty smallint; bytes bigint; age_ms float8; is_mine boolean;
  BEGIN
    SELECT pg_try_advisory_xact_lock(${PARTITION_LOCK}, -1) INTO is_mine FROM {schema}.transport_ring r;
    IF NOT is_mine OR {schema}.transport_is_restored() THEN RETURN; END IF;
    UPDATE {schema}.transport_ring SET since = clock_timestamp() WHERE since > clock_timestamp();
    UPDATE {schema}.transport_segment SET closed_at = clock_timestamp() WHERE closed_at > clock_timestamp();
    SELECT r.current, extract(epoch FROM clock_timestamp() - r.since) * 1000 INTO k, age_ms FROM {schema}.transport_ring r;
    bytes := pg_relation_size(${SEGMENT_OF});
    SELECT s.segment INTO empty FROM {schema}.transport_segment s WHERE s.is_empty AND s.segment <> k
      ORDER BY (s.segment - k + 1000) % 1000 LIMIT 1;
    IF empty IS NOT NULL AND bytes > 0 AND (bytes >= p_bytes OR age_ms >= p_ms) THEN
      UPDATE {schema}.transport_segment SET is_empty = false, closed_at = NULL WHERE segment = empty;
      UPDATE {schema}.transport_ring SET current = empty, since = clock_timestamp();
      k := empty;
    END IF;
    UPDATE {schema}.transport_segment s SET closed_at = clock_timestamp() WHERE NOT s.is_empty AND s.closed_at IS NULL AND s.segment <> k;
    RETURN QUERY SELECT s.segment FROM {schema}.transport_segment s
      WHERE NOT s.is_empty AND s.closed_at < clock_timestamp() - p_retention_ms * interval '1 ms' ORDER BY s.closed_at;
  END $transport$`

/** The lowest position of each partition that some group has not settled. */
const LOWEST = `
  SELECT p.id AS part, coalesce(min(l.settled), 9e18::bigint) AS settled FROM {schema}.transport_partition p
  LEFT JOIN {schema}.transport_group g ON g.destination = p.destination
  LEFT JOIN LATERAL (
    SELECT x.settled FROM {schema}.transport_progress x WHERE x.grp = g.id AND x.part = p.id ORDER BY x.ver DESC LIMIT 1
  ) l ON true GROUP BY 1`

/**
 * Position below which a segment's messages may be removed: settled by every group, and preceded by none in another segment. A
 * late commit gets a position behind younger segments; without the second rule it would leave a gap in the positions.
 */
const CUT_BELOW = `
  SELECT l.part, least(l.settled, (
    SELECT t.first FROM {schema}.transport_tick t WHERE t.part = l.part AND t.seqs <> '{}' AND NOT k = ANY (t.segments)
    ORDER BY t.first LIMIT 1)) AS settled
  FROM (${LOWEST}) l`

/** Excludes the assignment of positions. */
const LOCK_ALL = `PERFORM pg_advisory_xact_lock(${PARTITION_LOCK}, p.lock) FROM {schema}.transport_ring r,
      (SELECT DISTINCT ${lockOf('id')} AS lock FROM {schema}.transport_partition ORDER BY 1) p;`

/**
 * Removes settled messages from a closed segment, and carries the rest over to the one being written, with its numbers. Waits
 * only for current writers, and not for long. False: it contains more than \`p_most\`, or a channel keeps it longer.
 */
const CLEAR = `
  CREATE FUNCTION {schema}.transport_clear(k smallint, p_most int) RETURNS boolean LANGUAGE plpgsql ${BY_INDEX}
  AS $transport$
  DECLARE c smallint; since timestamptz;
  BEGIN
    PERFORM set_config('lock_timeout', '100ms', true);
    ${LOCK_ALL}
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', ${SEGMENT_OF});
    SELECT r.current INTO c FROM {schema}.transport_ring r;
    IF k = c THEN RETURN false; END IF;
    PERFORM {schema}.transport_assign(p.id) FROM {schema}.transport_partition p;
    SELECT s.closed_at INTO since FROM {schema}.transport_segment s WHERE s.segment = k;
    IF EXISTS (SELECT FROM {schema}.transport_partition p WHERE p.retention_ms IS NOT NULL
      AND since > clock_timestamp() - p.retention_ms * interval '1 ms'
      AND EXISTS (SELECT FROM {schema}.transport_tick t WHERE t.part = p.id AND k = ANY (t.segments))) THEN RETURN false; END IF;
    IF (WITH low AS MATERIALIZED (${CUT_BELOW}) SELECT count(*) FROM low JOIN {schema}.transport_tick t ON t.part = low.part,
        LATERAL unnest(t.segments) WITH ORDINALITY u(segment, n)
        WHERE k = ANY (t.segments) AND u.segment = k AND t.first + u.n - 1 >= low.settled) > p_most THEN RETURN false; END IF;
    WITH low AS MATERIALIZED (${CUT_BELOW}), cut AS (
      SELECT t.part, t.first, least(low.settled - t.first, t.n)::int AS d
      FROM {schema}.transport_tick t JOIN low ON low.part = t.part WHERE k = ANY (t.segments) AND t.first < low.settled
    )
    UPDATE {schema}.transport_tick t
    SET first = t.first + d, n = t.n - d, segments = t.segments[d + 1:], xids = t.xids[d + 1:], seqs = t.seqs[d + 1:]
    FROM cut WHERE t.part = cut.part AND t.first = cut.first AND d < t.n;
    WITH low AS MATERIALIZED (${CUT_BELOW})
    DELETE FROM {schema}.transport_tick t USING low
    WHERE low.part = t.part AND k = ANY (t.segments) AND t.first + t.n <= low.settled
      AND t.first < (SELECT max(z.first) FROM {schema}.transport_tick z WHERE z.part = t.part);
    INSERT INTO {schema}.transport_log (xid, seq, segment, part, key, meta, body)
      SELECT l.xid, l.seq, c, l.part, l.key, l.meta, l.body FROM {schema}.transport_tick t
      CROSS JOIN LATERAL unnest(t.segments, t.xids, t.seqs) e(segment, xid, seq)
      CROSS JOIN LATERAL (
        -- As in a fetch: one probe for each.
        SELECT * FROM {schema}.transport_log m WHERE m.segment = k AND m.part = t.part AND m.xid = e.xid AND m.seq = e.seq OFFSET 0) l
      WHERE e.segment = k AND k = ANY (t.segments);
    UPDATE {schema}.transport_tick SET segments = array_replace(segments, k, c) WHERE k = ANY (segments);
    RETURN true;
  END $transport$`

/** Truncates a segment that \`clear\` has emptied. False when a row was written there in between: clear it again. */
const TRUNCATE = `
  CREATE FUNCTION {schema}.transport_truncate(k smallint) RETURNS boolean LANGUAGE plpgsql
  SECURITY DEFINER SET search_path = pg_catalog, pg_temp ${BY_INDEX}
  AS $transport$
  BEGIN
    PERFORM set_config('lock_timeout', '100ms', true);
    ${LOCK_ALL}
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', ${SEGMENT_OF});
    PERFORM {schema}.transport_assign(p.id) FROM {schema}.transport_partition p;
    IF k = (SELECT r.current FROM {schema}.transport_ring r)
      OR EXISTS (SELECT FROM {schema}.transport_tick t WHERE k = ANY (t.segments)) THEN RETURN false; END IF;
    EXECUTE format('TRUNCATE %s', ${SEGMENT_OF});
    UPDATE {schema}.transport_segment SET is_empty = true, closed_at = NULL WHERE segment = k;
    RETURN true;
  END $transport$`

/** Small tables that are never analysed look large to the planner: PostgreSQL would compile the statement for up to a second. */
const WITHOUT_JIT = 'SET jit = off'

/** Returns the groups that keep the closed segments, the furthest behind first. */
const HOLDERS = `
  CREATE FUNCTION {schema}.transport_holders() RETURNS TABLE (destination text, name text, messages bigint, bytes bigint, since timestamptz)
  LANGUAGE sql ${WITHOUT_JIT}
  AS $transport$
    SELECT g.destination, g.name, sum(newest.next - l.settled - cardinality(l.done))::bigint,
      (SELECT sum(pg_total_relation_size(i.inhrelid))::bigint FROM pg_catalog.pg_inherits i WHERE i.inhparent = ${tableOf(`'transport_log'`)}),
      (SELECT min(s.closed_at) FROM {schema}.transport_segment s)
    FROM {schema}.transport_group g JOIN {schema}.transport_partition p ON p.destination = g.destination
    CROSS JOIN LATERAL (
      SELECT x.settled, x.done FROM {schema}.transport_progress x WHERE x.grp = g.id AND x.part = p.id ORDER BY x.ver DESC LIMIT 1
    ) l CROSS JOIN LATERAL (
      SELECT t.first + t.n AS next FROM {schema}.transport_tick t WHERE t.part = p.id ORDER BY t.first DESC LIMIT 1
    ) newest
    GROUP BY 1, 2 HAVING sum(newest.next - l.settled - cardinality(l.done)) > 0 ORDER BY 3 DESC LIMIT 10
  $transport$`

/**
 * Returns lag and number of readers of each group, oldest groups first. Readers assign positions to messages, so messages without
 * one count as well, up to \`p_most\` in a partition, and delayed ones that are due, up to \`p_most\` in total.
 */
const GROUPS = `
  CREATE FUNCTION {schema}.transport_groups(p_limit int, p_most int)
  RETURNS TABLE (destination text, name text, lag float8, is_cut boolean, readers int) LANGUAGE sql ${WITHOUT_JIT}
  AS $transport$
    WITH chosen AS MATERIALIZED (SELECT * FROM {schema}.transport_group ORDER BY id LIMIT p_limit),
    due AS MATERIALIZED (SELECT y.part, count(*) AS n FROM (
      SELECT d.part FROM {schema}.transport_delayed d WHERE d.due <= now() ORDER BY d.due, d.seq LIMIT p_most) y GROUP BY y.part),
    part AS MATERIALIZED (
      SELECT p.id, p.destination, t.next + fresh.n + coalesce(due.n, 0) AS next,
        fresh.n >= p_most OR (SELECT sum(n) FROM due) >= p_most AS cut
      FROM {schema}.transport_partition p
      CROSS JOIN LATERAL (
        SELECT k.first + k.n AS next, k.snap FROM {schema}.transport_tick k WHERE k.part = p.id ORDER BY k.first DESC LIMIT 1) t
      CROSS JOIN LATERAL (SELECT count(*) AS n FROM (
        SELECT FROM {schema}.transport_log l WHERE l.part = p.id AND l.xid >= pg_snapshot_xmax(t.snap)
        UNION ALL
        SELECT FROM pg_snapshot_xip(t.snap) x(x), LATERAL (
          SELECT FROM {schema}.transport_log l WHERE l.part = p.id AND l.xid = x.x OFFSET 0) l
        LIMIT p_most) f) fresh
      LEFT JOIN due ON due.part = p.id
      WHERE p.destination IN (SELECT c.destination FROM chosen c))
    SELECT g.destination, g.name, coalesce(sum(p.next - l.settled - cardinality(l.done)), 0)::float8, coalesce(bool_or(p.cut), false),
      (SELECT count(*)::int FROM {schema}.transport_session x WHERE g.id = ANY (x.groups) AND x.live_until > clock_timestamp())
    FROM chosen g JOIN part p ON p.destination = g.destination
    CROSS JOIN LATERAL (
      SELECT x.settled, x.done FROM {schema}.transport_progress x WHERE x.grp = g.id AND x.part = p.id ORDER BY x.ver DESC LIMIT 1
    ) l
    GROUP BY g.id, g.destination, g.name ORDER BY g.destination, g.name
  $transport$`

/**
 * True if stored values are in the future of this cluster: a dump of another one was restored. For a log that was never read,
 * only the messages reveal it, except those of the calling transaction.
 */
const IS_RESTORED = `
  CREATE FUNCTION {schema}.transport_is_restored() RETURNS boolean LANGUAGE sql ${BY_INDEX}
  AS $transport$
    SELECT coalesce(bool_or(newest.snap_xmax > pg_snapshot_xmax(pg_current_snapshot()) OR (
      last.xid >= pg_snapshot_xmax(pg_current_snapshot()) AND last.xid IS DISTINCT FROM pg_current_xact_id_if_assigned())), false)
    FROM {schema}.transport_partition p CROSS JOIN LATERAL (
      SELECT pg_snapshot_xmax(t.snap) AS snap_xmax FROM {schema}.transport_tick t WHERE t.part = p.id ORDER BY t.first DESC LIMIT 1
    ) newest LEFT JOIN LATERAL (
      SELECT l.xid FROM {schema}.transport_log l WHERE l.part = p.id ORDER BY l.xid DESC LIMIT 1
    ) last ON true
  $transport$`

/** The lowest position of the partition \`t.part\` that some group has not settled; without a group all are needed. */
const LOWEST_OF_PART = `
  SELECT coalesce(min(l.settled), -1) FROM {schema}.transport_partition q
  JOIN {schema}.transport_group g ON g.destination = q.destination
  CROSS JOIN LATERAL (
    SELECT x.settled FROM {schema}.transport_progress x WHERE x.grp = g.id AND x.part = q.id ORDER BY x.ver DESC LIMIT 1
  ) l WHERE q.id = t.part`

/** Every position, and whether its message exists, once all transactions have number 3. */
const POSITIONS = `(
  SELECT t.part, t.first + u.n - 1 AS pos, u.segment, u.seq, m.seq IS NULL AS is_missing
  FROM {schema}.transport_tick t CROSS JOIN LATERAL unnest(t.segments, t.seqs) WITH ORDINALITY u(segment, seq, n)
  LEFT JOIN {schema}.transport_log m ON m.segment = u.segment AND m.part = t.part AND m.seq = u.seq
)`

/**
 * Moves all stored values to the past of this cluster. Messages that had no position when the dump was taken get one, by the rule
 * of \`assign\` with the numbers that they were stored under. Messages sent since the restore get one, too: the restored snapshot
 * seems to include them, but their \`xmin\` is the transaction that they name, unlike that of restored rows. If messages that
 * some group has not settled are missing (a dump without the segments), positions begin again behind all others: every group
 * receives the existing messages. Returns the number of missing messages.
 */
const REPAIR = `
  CREATE FUNCTION {schema}.transport_repair() RETURNS bigint LANGUAGE plpgsql
  AS $transport$
  DECLARE p int; behind bigint; lowest bigint; missing bigint := 0; missing_here bigint;
  BEGIN
    LOCK TABLE {schema}.transport_log, {schema}.transport_tick IN ACCESS EXCLUSIVE MODE;
    INSERT INTO {schema}.transport_tick
    SELECT l.part, l.next + min(l.rank) - 1, count(*), '3:3:',
      array_agg(l.segment ORDER BY l.rank), array_agg(l.xid ORDER BY l.rank), array_agg(l.seq ORDER BY l.rank)
    FROM (
      SELECT g.part, g.segment, g.xid, g.seq, newest.next, row_number() OVER (PARTITION BY g.part ORDER BY g.seq) AS rank
      FROM {schema}.transport_log g CROSS JOIN LATERAL (
        SELECT t.first + t.n AS next, t.snap FROM {schema}.transport_tick t WHERE t.part = g.part ORDER BY t.first DESC LIMIT 1
      ) newest WHERE (NOT pg_visible_in_snapshot(g.xid, newest.snap) OR (g.xmin = g.xid::xid AND g.part IN (
          SELECT t.part FROM {schema}.transport_tick t WHERE pg_snapshot_xmax(t.snap) > pg_snapshot_xmax(pg_current_snapshot()))))
        AND NOT EXISTS (SELECT FROM {schema}.transport_tick t, unnest(t.segments, t.seqs) u(segment, seq)
          WHERE t.part = g.part AND u.segment = g.segment AND u.seq = g.seq)
    ) l GROUP BY l.part, l.next, (l.rank - 1) / ${TICK_SIZE};
    UPDATE {schema}.transport_log SET xid = '3';
    UPDATE {schema}.transport_tick t SET snap = pg_current_snapshot(),
      xids = CASE WHEN cardinality(t.xids) = 0 THEN '{}' ELSE array_fill('3'::xid8, ARRAY[cardinality(t.xids)]) END;
    FOR p, behind, lowest, missing_here IN
      SELECT low.part, low.behind, low.settled, count(*)
      FROM (
        SELECT t.part, max(t.first + t.n) AS behind, (${LOWEST_OF_PART}) AS settled FROM {schema}.transport_tick t GROUP BY t.part
      ) low, ${POSITIONS} e
      WHERE e.part = low.part AND e.pos >= low.settled AND e.is_missing GROUP BY 1, 2, 3
    LOOP
      missing := missing + missing_here;
      WITH kept AS (
        SELECT e.segment, e.seq, row_number() OVER (ORDER BY e.pos) AS rank FROM ${POSITIONS} e
        WHERE e.part = p AND e.pos >= lowest AND NOT e.is_missing
      ), dropped AS (
        DELETE FROM {schema}.transport_tick t WHERE t.part = p
      )
      INSERT INTO {schema}.transport_tick
      SELECT p, behind + min(rank), count(*), pg_current_snapshot(),
        array_agg(segment ORDER BY rank), array_agg('3'::xid8), array_agg(seq ORDER BY rank)
      FROM kept GROUP BY (rank - 1) / ${TICK_SIZE}
      UNION ALL SELECT p, behind, 1, pg_current_snapshot(), '{}', '{}', '{}';
      UPDATE {schema}.transport_progress x SET settled = behind + 1, handed = greatest(x.handed, behind + 1), done = '{}'
      WHERE x.part = p;
    END LOOP;
    DELETE FROM {schema}.transport_session;
    RETURN missing;
  END $transport$`

export const UPKEEP_FUNCTIONS: readonly string[] = [ROTATE, CLEAR, TRUNCATE, HOLDERS, GROUPS, IS_RESTORED, REPAIR]
