/**
 * Parts shared by all functions. Every change of a cluster is one of them, called in its own transaction: it locks the heads of
 * the logs that it writes, those of the members before those of states, then reads the server's clock.
 *
 * A log is named `members` or `state/<name>`.
 */
import { BY_INDEX } from '../../../core/sql-function-snippets.ts'
import { MAX_PAGE_BYTES } from '../store/log-page.ts'

const HEAD_FUNCTION = `
CREATE FUNCTION {schema}.cluster_lock_head(p_cluster text, p_log text) RETURNS {schema}.cluster_head LANGUAGE plpgsql AS $$
DECLARE
  l_head {schema}.cluster_head;
BEGIN
  LOOP
    SELECT * INTO l_head FROM {schema}.cluster_head h WHERE h.cluster = p_cluster AND h.log = p_log FOR UPDATE;
    IF FOUND THEN RETURN l_head; END IF;
    INSERT INTO {schema}.cluster_head (cluster, log) VALUES (p_cluster, p_log) ON CONFLICT DO NOTHING;
  END LOOP;
END $$`

/**
 * Appends one entry to a log whose head is locked, and deletes entries beyond `p_keep`: from `floor` on, so that the scan begins
 * at the first row.
 *
 * revision = max(last + 1, server time in microseconds): rising even when the clock is set back; above everything confirmed
 * before when data were lost.
 */
const APPEND_FUNCTION = `
CREATE FUNCTION {schema}.cluster_append(p_cluster text, p_log text, p_now bigint, p_keep int, p_request text, p_changes text)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  l_head {schema}.cluster_head;
  l_revision bigint;
  l_floor bigint;
  l_gone int := 0;
BEGIN
  SELECT * INTO l_head FROM {schema}.cluster_head h WHERE h.cluster = p_cluster AND h.log = p_log;
  l_revision := greatest(l_head.revision + 1, p_now);
  INSERT INTO {schema}.cluster_log VALUES (p_cluster, p_log, l_revision, l_head.revision, p_request, p_changes);
  IF l_head.entries >= p_keep THEN
    WITH gone AS (
      DELETE FROM {schema}.cluster_log l WHERE l.cluster = p_cluster AND l.log = p_log AND l.revision = ANY (ARRAY(
        SELECT o.revision FROM {schema}.cluster_log o WHERE o.cluster = p_cluster AND o.log = p_log AND o.revision > l_head.floor
        ORDER BY o.revision LIMIT l_head.entries + 1 - p_keep))
      RETURNING l.revision
    )
    SELECT max(gone.revision), count(*) INTO l_floor, l_gone FROM gone;
  END IF;
  UPDATE {schema}.cluster_head h SET revision = l_revision, floor = coalesce(l_floor, h.floor), entries = h.entries + 1 - l_gone
    WHERE h.cluster = p_cluster AND h.log = p_log;
  RETURN l_revision;
END $$`

/** JSON of the entries in `l`. */
const ENTRIES = `json_agg(json_build_object('revision', l.revision::text, 'previous', l.previous::text, 'changes', l.changes) ORDER BY l.revision)`

/** Entries of the log of `h`. */
const LOGGED = (after: string): string => `SELECT * FROM {schema}.cluster_log l
      WHERE l.cluster = h.cluster AND l.log = h.log AND l.revision > ${after} ORDER BY l.revision LIMIT p_limit`

/** Tells whether an entry is in the page; the first one always is. */
const IN_PAGE = `(l.bytes <= ${MAX_PAGE_BYTES} OR l.bytes = octet_length(l.changes))`

/** Invariant: `ok` only if `p_after` is a revision of this history and everything after it is in the log. */
const CHANGES_FUNCTION = `
CREATE FUNCTION {schema}.cluster_changes(p_cluster text, p_log text, p_after bigint, p_limit int)
RETURNS TABLE (status text, entries json) LANGUAGE sql STABLE ${BY_INDEX} AS $$
  SELECT CASE WHEN p_after > h.revision THEN 'rolled_back' WHEN p_after < h.floor THEN 'compacted'
      WHEN p_after > h.floor AND NOT EXISTS (SELECT FROM {schema}.cluster_log l
        WHERE l.cluster = p_cluster AND l.log = p_log AND l.revision = p_after) THEN 'rolled_back'
      ELSE 'ok' END,
    (SELECT ${ENTRIES} FROM (
      SELECT l.*, sum(octet_length(l.changes)) OVER (ORDER BY l.revision) AS bytes FROM (${LOGGED('p_after')}) l) l WHERE ${IN_PAGE})
  FROM {schema}.cluster_head h WHERE h.cluster = p_cluster AND h.log = p_log
$$`

/**
 * Reads many logs at once: entries after a position, and whether the log ends before it. Omits logs without news, and those for
 * which the page has no capacity: the oldest entries of all logs come first, so none waits forever.
 */
const TAIL_FUNCTION = `
CREATE FUNCTION {schema}.cluster_tail(p_clusters text[], p_logs text[], p_after bigint[], p_limit int)
RETURNS TABLE (n int, ends bigint, entries json) LANGUAGE sql STABLE ${BY_INDEX} AS $$
  SELECT l.n::int, l.ends, ${ENTRIES} FILTER (WHERE l.revision IS NOT NULL)
  FROM (
    SELECT q.n, coalesce(h.revision, 0) AS ends, l.revision, l.previous, l.changes,
      sum(octet_length(l.changes)) OVER (ORDER BY l.revision, q.n) AS bytes
    FROM unnest(p_clusters, p_logs, p_after) WITH ORDINALITY AS q(cluster, log, after, n)
      LEFT JOIN {schema}.cluster_head h ON h.cluster = q.cluster AND h.log = q.log
      LEFT JOIN LATERAL (${LOGGED('q.after')}) l ON true
    WHERE coalesce(h.revision, 0) <> q.after
  ) l
  WHERE l.revision IS NULL OR ${IN_PAGE}
  GROUP BY l.n, l.ends
$$`

export const LOG_FUNCTIONS: readonly string[] = [HEAD_FUNCTION, APPEND_FUNCTION, CHANGES_FUNCTION, TAIL_FUNCTION]
