/**
 * SQL functions of the adapter: each is one round trip, and none of them waits for a transaction of another client.
 *
 * They are functions also for their SET clauses: the statistics of a log are always outdated, and with those of an empty table
 * the planner hash-joins a whole partition for each fetch. The only remaining plans are probes of the primary keys.
 *
 * They are PL/pgSQL, which keeps a plan without the values, whereas a function in SQL is planned at each call, which takes longer
 * than its work. And where a lock comes first each later statement needs its own snapshot, under READ COMMITTED: it must see the
 * commits of the previous lock holder.
 */

export const BY_INDEX =
  'SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off'

const PLANNED_ONCE = `${BY_INDEX} SET plan_cache_mode = force_generic_plan`

/** Maximum number of positions in a row of `transport_tick`. */
export const TICK_SIZE = 500

/** Locks of the partitions of one schema; the table's own number distinguishes schemas. */
export const PARTITION_LOCK = `(r.tableoid::bigint - 2147483648)::int`

/** A server has capacity for some thousands of locks in total, so with more partitions than this some share one. */
const LOCKS = 512

/** The second number of a partition's lock. */
export const lockOf = (part: string): string => `${part} % ${LOCKS}`

/**
 * Creates a destination and its groups. An existing one keeps its partitions, and gets the retention that was declared last. A
 * new group starts at the earliest message.
 */
const PROVISION = `
  CREATE FUNCTION {schema}.transport_provision(p_destination text, p_partitions int, p_groups text[], p_retention_ms bigint)
  RETURNS TABLE (id int, n int) LANGUAGE plpgsql ${PLANNED_ONCE}
  AS $transport$
  BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(p_destination, r.tableoid::bigint)) FROM {schema}.transport_ring r WHERE r.one;
    IF NOT EXISTS (SELECT FROM {schema}.transport_partition p WHERE p.destination = p_destination) THEN
      WITH made AS (
        INSERT INTO {schema}.transport_partition (destination, n, retention_ms)
        SELECT p_destination, g, p_retention_ms FROM generate_series(0, p_partitions - 1) g RETURNING transport_partition.id
      )
      INSERT INTO {schema}.transport_tick SELECT made.id, -1, 1, '3:3:', '{}', '{}', '{}' FROM made;
    END IF;
    IF EXISTS (SELECT FROM {schema}.transport_partition p
      WHERE p.destination = p_destination AND coalesce(p_retention_ms, p.retention_ms) IS DISTINCT FROM p.retention_ms) THEN
      UPDATE {schema}.transport_partition p SET retention_ms = p_retention_ms WHERE p.destination = p_destination;
    END IF;
    IF EXISTS (SELECT FROM unnest(p_groups) AS wanted(name), {schema}.transport_partition p WHERE p.destination = p_destination AND NOT EXISTS (
      SELECT FROM {schema}.transport_group g JOIN {schema}.transport_progress x ON x.grp = g.id
      WHERE g.destination = p_destination AND g.name = wanted.name AND x.part = p.id)) THEN
      -- No other transaction may truncate the start of the new group.
      PERFORM pg_advisory_xact_lock(${PARTITION_LOCK}, ${lockOf('p.id')}) FROM {schema}.transport_ring r, {schema}.transport_partition p
        WHERE r.one AND p.destination = p_destination;
      INSERT INTO {schema}.transport_group (destination, name)
        SELECT p_destination, wanted.name FROM unnest(p_groups) AS wanted(name) ON CONFLICT DO NOTHING;
      INSERT INTO {schema}.transport_progress (grp, part, ver, epoch, settled, handed)
      SELECT g.id, p.id, 0, 0, earliest.at, earliest.at
      FROM {schema}.transport_group g, {schema}.transport_partition p, LATERAL (
        SELECT greatest(0, coalesce(min(t.first) FILTER (WHERE t.seqs <> '{}'), max(t.first + t.n))) AS at
        FROM {schema}.transport_tick t WHERE t.part = p.id
      ) earliest WHERE g.destination = p_destination AND g.name = ANY (p_groups) AND p.destination = p_destination
        AND NOT EXISTS (SELECT FROM {schema}.transport_progress x WHERE x.grp = g.id AND x.part = p.id);
    END IF;
    RETURN QUERY SELECT p.id, p.n FROM {schema}.transport_partition p WHERE p.destination = p_destination ORDER BY p.n;
  END $transport$`

/**
 * Assigns positions to rows committed since the last assignment: those that this statement sees and the newest tick did not see.
 * Every committed row is in exactly one such difference, however late it commits. Within it the sequence determines the order: of
 * two transactions that serialise on the row behind a key, the first has the lower number. False: another reader is assigning,
 * and the newest commits may have no position yet.
 */
const GIVE_POSITIONS = `
  CREATE FUNCTION {schema}.transport_give_positions(p int) RETURNS boolean LANGUAGE plpgsql
  AS $transport$
  DECLARE base pg_snapshot; next_position bigint; is_mine boolean;
  BEGIN
    SELECT pg_try_advisory_xact_lock(${PARTITION_LOCK}, ${lockOf('p')}) INTO is_mine FROM {schema}.transport_ring r WHERE r.one;
    IF NOT is_mine THEN RETURN false; END IF;
    SELECT t.snap, t.first + t.n INTO base, next_position
      FROM {schema}.transport_tick t WHERE t.part = p ORDER BY t.first DESC LIMIT 1;
    IF base IS NULL THEN RAISE EXCEPTION 'partition % has no positions', p; END IF;
    INSERT INTO {schema}.transport_tick
    SELECT p, next_position + min(rank) - 1, count(*), min(s::text)::pg_snapshot,
      array_agg(segment ORDER BY rank), array_agg(xid ORDER BY rank), array_agg(seq ORDER BY rank)
    FROM (
      SELECT l.*, cur.s, row_number() OVER (ORDER BY l.seq) AS rank
      FROM (SELECT pg_current_snapshot() AS s) cur, LATERAL (
        SELECT segment, xid, seq FROM {schema}.transport_log WHERE part = p AND xid >= pg_snapshot_xmax(base)
        UNION ALL
        SELECT g.segment, g.xid, g.seq FROM pg_snapshot_xip(base) x(x), LATERAL (
          -- OFFSET 0: one probe for each open transaction. Else the planner reads the whole partition beside the list.
          SELECT * FROM {schema}.transport_log g WHERE g.part = p AND g.xid = x.x OFFSET 0) g
      ) l
      WHERE pg_visible_in_snapshot(l.xid, cur.s)
    ) fresh
    GROUP BY (rank - 1) / ${TICK_SIZE};
    RETURN true;
  END $transport$`

/** For callers that need no result. */
const ASSIGN = `
  CREATE FUNCTION {schema}.transport_assign(p int) RETURNS void LANGUAGE plpgsql ${PLANNED_ONCE}
  AS $transport$ BEGIN PERFORM {schema}.transport_give_positions(p); END $transport$`

/** Returns messages from a position on, limited in number and bytes; the first one regardless of its size. */
const ROWS = `
    SELECT pos, xid, seq, key, meta, body FROM (
      SELECT e.pos, l.xid, l.seq, l.key, l.meta, l.body,
        sum(coalesce(octet_length(l.body), 0)) OVER (ORDER BY e.pos ROWS UNBOUNDED PRECEDING) - coalesce(octet_length(l.body), 0) AS bytes_before
      FROM (
        SELECT t.first + u.n - 1 AS pos, u.segment, u.xid, u.seq
        FROM {schema}.transport_tick t CROSS JOIN LATERAL unnest(t.segments, t.xids, t.seqs) WITH ORDINALITY u(segment, xid, seq, n)
        WHERE t.part = p AND t.first >= coalesce(
            (SELECT b.first FROM {schema}.transport_tick b WHERE b.part = p AND b.first <= p_from ORDER BY b.first DESC LIMIT 1), p_from)
          AND t.first < p_from + p_limit AND t.first + u.n - 1 >= p_from
        ORDER BY 1 LIMIT p_limit
      ) e CROSS JOIN LATERAL (
        -- OFFSET 0: one probe for each. Of a segment that was analyzed when it was empty the planner else reads all for each.
        SELECT * FROM {schema}.transport_log m WHERE m.segment = e.segment AND m.part = p AND m.xid = e.xid AND m.seq = e.seq OFFSET 0) l
    ) sized WHERE bytes_before = 0 OR bytes_before < p_bytes ORDER BY pos`

/**
 * Settles finished messages and returns the next ones, under the caller's version, epoch and name: after a crash that undid a
 * claim the next one has the same numbers. Refused with CN001 if another member has appended after the caller's version, or a
 * failover has undone positions that the caller has read. Does not wait for the disk: messages whose settling a crash undoes are
 * redelivered, and the member whose version is missing is refused. A last row without a position means that another reader is
 * assigning positions.
 */
const FETCH = `
  CREATE FUNCTION {schema}.transport_fetch(g int, p int, v bigint, e bigint, p_owner text, p_settled bigint, p_done bigint[],
    p_writes boolean, p_from bigint, p_limit int, p_bytes bigint)
  RETURNS TABLE (pos bigint, xid xid8, seq bigint, key bytea, meta json, body bytea) LANGUAGE plpgsql ${PLANNED_ONCE}
  AS $transport$
  #variable_conflict use_column
  DECLARE up_to bigint := p_from; count_read bigint := 0; is_mine boolean := true;
  BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    IF p_limit > 0 THEN
      is_mine := {schema}.transport_give_positions(p);
      RETURN QUERY ${ROWS};
      GET DIAGNOSTICS count_read = ROW_COUNT;
      up_to := p_from + count_read;
    END IF;
    IF count_read > 0 OR p_writes THEN
      INSERT INTO {schema}.transport_progress
      SELECT g, p, v + 1, e, p_owner, p_settled, greatest(up_to, b.handed), p_done FROM {schema}.transport_progress b
      WHERE b.grp = g AND b.part = p AND b.ver = v AND b.epoch = e AND b.owner = p_owner ON CONFLICT DO NOTHING;
      IF NOT FOUND THEN RAISE EXCEPTION 'the place was taken over' USING ERRCODE = 'CN001'; END IF;
    ELSIF (SELECT t.first + t.n FROM {schema}.transport_tick t WHERE t.part = p ORDER BY t.first DESC LIMIT 1) < p_from THEN
      RAISE EXCEPTION 'the position was undone' USING ERRCODE = 'CN001';
    END IF;
    IF NOT is_mine THEN RETURN QUERY SELECT NULL::bigint, NULL::xid8, NULL::bigint, NULL::bytea, NULL::json, NULL::bytea; END IF;
  END $transport$`

/**
 * Settles finished messages and lends messages that the caller has from another group. False, without an effect: positions from
 * \`p_from\` on belong to other messages now, because a crash has undone positions.
 */
const FOLLOW = `
  CREATE FUNCTION {schema}.transport_follow(g int, p int, v bigint, e bigint, p_owner text, p_settled bigint, p_done bigint[],
    p_from bigint, p_xids xid8[], p_seqs bigint[])
  RETURNS boolean LANGUAGE plpgsql ${PLANNED_ONCE}
  AS $transport$
  DECLARE up_to bigint := p_from + cardinality(p_seqs); same bigint;
  BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    SELECT sum(s.upto - s.start) INTO same FROM (
      SELECT greatest(p_from, t.first) AS start, least(up_to, t.first + t.n) AS upto, t.first, t.xids, t.seqs FROM {schema}.transport_tick t
      WHERE t.part = p AND t.first + t.n > p_from AND t.first < up_to AND t.first >= coalesce(
        (SELECT b.first FROM {schema}.transport_tick b WHERE b.part = p AND b.first <= p_from ORDER BY b.first DESC LIMIT 1), p_from)
    ) s
    WHERE s.xids[s.start - s.first + 1:s.upto - s.first] = p_xids[s.start - p_from + 1:s.upto - p_from]
      AND s.seqs[s.start - s.first + 1:s.upto - s.first] = p_seqs[s.start - p_from + 1:s.upto - p_from];
    IF same IS DISTINCT FROM up_to - p_from THEN RETURN false; END IF;
    INSERT INTO {schema}.transport_progress
    SELECT g, p, v + 1, e, p_owner, p_settled, greatest(up_to, b.handed), p_done FROM {schema}.transport_progress b
    WHERE b.grp = g AND b.part = p AND b.ver = v AND b.epoch = e AND b.owner = p_owner ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN RAISE EXCEPTION 'the place was taken over' USING ERRCODE = 'CN001'; END IF;
    RETURN true;
  END $transport$`

/** The same for a reader without a group, which remembers the previous message: CN001 when a crash has undone its position. */
const PEEK = `
  CREATE FUNCTION {schema}.transport_peek(p int, p_from bigint, p_limit int, p_bytes bigint, p_xid xid8, p_seq bigint)
  RETURNS TABLE (pos bigint, xid xid8, seq bigint, key bytea, meta json, body bytea) LANGUAGE plpgsql ${PLANNED_ONCE}
  AS $transport$
  #variable_conflict use_column
  DECLARE is_undone boolean;
  BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM {schema}.transport_assign(p);
    SELECT t.first + t.n < p_from INTO is_undone FROM {schema}.transport_tick t WHERE t.part = p ORDER BY t.first DESC LIMIT 1;
    IF is_undone OR EXISTS (
      SELECT FROM (
        SELECT * FROM {schema}.transport_tick b WHERE b.part = p AND b.first < p_from ORDER BY b.first DESC LIMIT 1
      ) t WHERE t.first + t.n >= p_from AND (t.xids[p_from - t.first] <> p_xid OR t.seqs[p_from - t.first] <> p_seq)
    ) THEN RAISE EXCEPTION 'the position was undone' USING ERRCODE = 'CN001'; END IF;
    RETURN QUERY ${ROWS};
  END $transport$`

/**
 * Takes partitions of a group that have no owner, or whose owner's session has ended, or that are the caller's own. A session
 * counts as ended only if it was when the statement arrived, because a session that was renewed during a wait must not appear
 * ended.
 */
const CLAIM = `
  CREATE FUNCTION {schema}.transport_claim(g int, p_owner text, p_held int[], p_want int)
  RETURNS TABLE (part int, n int, ver bigint, epoch bigint, settled bigint, handed bigint, done bigint[]) LANGUAGE plpgsql ${PLANNED_ONCE}
  AS $transport$
  #variable_conflict use_column
  BEGIN
    RETURN QUERY WITH taken AS (
      INSERT INTO {schema}.transport_progress
      SELECT l.grp, l.part, l.ver + 1, l.epoch + 1, p_owner, l.settled, l.handed, l.done
      FROM {schema}.transport_group gr JOIN {schema}.transport_partition p USING (destination) CROSS JOIN LATERAL (
        SELECT * FROM {schema}.transport_progress x WHERE x.grp = g AND x.part = p.id ORDER BY x.ver DESC LIMIT 1
      ) l LEFT JOIN {schema}.transport_session s ON s.owner = l.owner
      WHERE gr.id = g AND p.id <> ALL (p_held)
        AND (l.owner IS NULL OR l.owner = p_owner OR coalesce(s.live_until, '-infinity') < statement_timestamp())
      ORDER BY p.n LIMIT p_want
      ON CONFLICT DO NOTHING RETURNING *
    )
    SELECT t.part, p.n, t.ver, t.epoch, t.settled, t.handed, t.done
    FROM taken t JOIN {schema}.transport_partition p ON p.id = t.part ORDER BY p.n;
  END $transport$`

/** Gives a partition up for other members, durably. False when it was no longer the caller's. */
const GIVE_BACK = `
  CREATE FUNCTION {schema}.transport_give_back(g int, p int, v bigint, e bigint, p_owner text, p_settled bigint, p_done bigint[])
  RETURNS boolean LANGUAGE plpgsql ${PLANNED_ONCE}
  AS $transport$
  BEGIN
    INSERT INTO {schema}.transport_progress
    SELECT g, p, v + 1, e, NULL, p_settled, b.handed, p_done FROM {schema}.transport_progress b
    WHERE b.grp = g AND b.part = p AND b.ver = v AND b.epoch = e AND b.owner = p_owner ON CONFLICT DO NOTHING;
    RETURN FOUND;
  END $transport$`

/**
 * Returns the partitions that have something from these positions on, with or without a position yet, or fewer messages than a
 * reader has seen.
 */
const PENDING = `
  CREATE FUNCTION {schema}.transport_pending(p_parts int[], p_froms bigint[]) RETURNS SETOF int LANGUAGE plpgsql STABLE ${PLANNED_ONCE}
  AS $transport$
  BEGIN
    RETURN QUERY SELECT w.part FROM unnest(p_parts, p_froms) AS w(part, start) CROSS JOIN LATERAL (
      SELECT t.snap, t.first + t.n AS next FROM {schema}.transport_tick t WHERE t.part = w.part ORDER BY t.first DESC LIMIT 1
    ) newest
    WHERE newest.next <> w.start
      OR EXISTS (SELECT FROM {schema}.transport_log l WHERE l.part = w.part AND l.xid >= pg_snapshot_xmax(newest.snap))
      OR EXISTS (SELECT FROM pg_snapshot_xip(newest.snap) x(x), LATERAL (
        SELECT FROM {schema}.transport_log l WHERE l.part = w.part AND l.xid = x.x OFFSET 0) l);
  END $transport$`

/** Returns the position of the next message of each partition. */
const ENDS = `
  CREATE FUNCTION {schema}.transport_ends(p_destination text) RETURNS TABLE (part int, n int, next bigint) LANGUAGE plpgsql ${PLANNED_ONCE}
  AS $transport$
  BEGIN
    PERFORM {schema}.transport_assign(p.id) FROM {schema}.transport_partition p WHERE p.destination = p_destination;
    RETURN QUERY SELECT p.id, p.n, newest.next FROM {schema}.transport_partition p CROSS JOIN LATERAL (
        SELECT t.first + t.n AS next FROM {schema}.transport_tick t WHERE t.part = p.id ORDER BY t.first DESC LIMIT 1
      ) newest WHERE p.destination = p_destination ORDER BY p.n;
  END $transport$`

/** Returns the number of unsettled messages of a group, including due ones that were not moved yet. Does not count rows. */
const LAG = `
  CREATE FUNCTION {schema}.transport_lag(p_destination text, p_group text) RETURNS bigint LANGUAGE plpgsql ${PLANNED_ONCE}
  AS $transport$
  DECLARE total bigint;
  BEGIN
    SELECT sum(e.next - l.settled - cardinality(l.done)) INTO total
    FROM {schema}.transport_ends(p_destination) e, {schema}.transport_group g
    CROSS JOIN LATERAL (
      SELECT x.settled, x.done FROM {schema}.transport_progress x WHERE x.grp = g.id AND x.part = e.part ORDER BY x.ver DESC LIMIT 1
    ) l WHERE g.destination = p_destination AND g.name = p_group;
    RETURN total + (SELECT count(*) FROM {schema}.transport_delayed d
      WHERE d.due <= now() AND d.part IN (SELECT p.id FROM {schema}.transport_partition p WHERE p.destination = p_destination));
  END $transport$`

/**
 * Moves due messages into the log, in one statement, so exactly once. \`now()\`, not \`clock_timestamp()\`, because a volatile
 * function cannot be an index condition.
 */
const PROMOTE = `
  CREATE FUNCTION {schema}.transport_promote(p_limit int) RETURNS TABLE (part int, next_ms float8) LANGUAGE plpgsql ${PLANNED_ONCE}
  AS $transport$
  BEGIN
    RETURN QUERY WITH due AS (
      DELETE FROM {schema}.transport_delayed d WHERE (d.due, d.seq) IN (
        SELECT x.due, x.seq FROM {schema}.transport_delayed x WHERE x.due <= now() ORDER BY x.due, x.seq LIMIT p_limit FOR UPDATE SKIP LOCKED
      ) RETURNING d.*
    ), moved AS (
      INSERT INTO {schema}.transport_log (segment, part, key, meta, body)
      SELECT r.current, due.part, due.key, due.meta, due.body FROM due, {schema}.transport_ring r ORDER BY due.due, due.seq
      RETURNING transport_log.part
    )
    SELECT DISTINCT moved.part, NULL::float8 FROM moved;
    RETURN QUERY SELECT NULL::int, (extract(epoch FROM d.due - clock_timestamp()) * 1000)::float8
      FROM {schema}.transport_delayed d ORDER BY d.due, d.seq LIMIT 1;
  END $transport$`

export const MESSAGE_FUNCTIONS: readonly string[] = [
  PROVISION,
  GIVE_POSITIONS,
  ASSIGN,
  FETCH,
  FOLLOW,
  PEEK,
  CLAIM,
  GIVE_BACK,
  PENDING,
  ENDS,
  LAG,
  PROMOTE,
]
