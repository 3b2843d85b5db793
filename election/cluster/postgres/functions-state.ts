import { BY_INDEX, DURABLY, NOW, REQUIRE_READ_COMMITTED, WITHOUT_WAITING } from '../../../core/sql-function-snippets.ts'

/** How long the outcome of a repeated request is kept. */
const REMEMBERED_US = '60000000'
/** Number of forgotten deletions that a commit clears. */
const CLEARED = '16'
/** Maximum number of bound entries in one entry of the log. */
const TOGETHER = '500'

const REMEMBER = (revision: string): string => `IF p_attempt > 1 THEN
      DELETE FROM {schema}.cluster_request r WHERE r.cluster = p_cluster AND r.until_us <= l_now;
      INSERT INTO {schema}.cluster_request VALUES (p_cluster, p_request, p_attempt, ${revision}, l_now + ${REMEMBERED_US})
        ON CONFLICT (cluster, request) DO UPDATE SET attempt = excluded.attempt, revision = excluded.revision, until_us = excluded.until_us;
      ${DURABLY};
    END IF`

/** Nothing was written, which must be recorded only if an earlier attempt may still arrive. */
const REMEMBER_NOTHING = `IF p_attempt = 1 THEN
      ${WITHOUT_WAITING};
    END IF;
    ${REMEMBER('0')}`

const OPERATIONS = `SELECT o.op->>'kind' AS kind, o.op->>'key' AS key, (o.op->>'if')::bigint AS if_version, o.op->>'json' AS json,
      o.op->>'instance' AS instance, (o.op->>'generation')::bigint AS generation
    FROM json_array_elements(p_operations) WITH ORDINALITY AS o(op, n) ORDER BY o.n`

const ENTRY = `SELECT * INTO l_entry FROM {schema}.cluster_entry e WHERE e.cluster = p_cluster AND e.log = p_log AND e.key = l_op.key`

/**
 * Executes all operations or none, under one revision, with their log entry. A request is executed once, however often and in
 * whatever order its attempts arrive; once a later attempt was executed an earlier one has no effect.
 *
 * Members with bound entries are locked first, so that none can end between the check and the commit, and before the log, so that
 * no deadlock arises.
 */
const COMMIT_FUNCTION = `
CREATE FUNCTION {schema}.cluster_commit(p_cluster text, p_log text, p_request text, p_attempt int, p_since bigint, p_keep int,
  p_keep_deleted_us bigint, p_operations json, p_bound text[],
  OUT status text, OUT at_revision bigint, OUT changed boolean, OUT found_key text, OUT found_version bigint, OUT found_json text,
  OUT found_instance text, OUT found_generation bigint)
LANGUAGE plpgsql ${BY_INDEX} AS $$
DECLARE
  l_head {schema}.cluster_head;
  l_entry {schema}.cluster_entry;
  l_known {schema}.cluster_request;
  l_op record;
  l_now bigint;
  l_changes json[] := '{}';
BEGIN
  ${REQUIRE_READ_COMMITTED};
  IF p_bound <> '{}' THEN
    PERFORM FROM {schema}.cluster_member m WHERE m.cluster = p_cluster AND m.instance = ANY (p_bound) ORDER BY m.instance FOR KEY SHARE;
  END IF;
  l_head := {schema}.cluster_lock_head(p_cluster, p_log);
  l_now := ${NOW};
  status := 'committed';
  changed := true;
  SELECT * INTO l_known FROM {schema}.cluster_request r WHERE r.cluster = p_cluster AND r.request = p_request AND r.until_us > l_now;
  IF l_known.revision > 0 THEN
    at_revision := l_known.revision;
    RETURN;
  ELSIF l_known.attempt >= p_attempt THEN
    status := 'unknown';
    RETURN;
  END IF;
  IF p_attempt > 1 THEN
    -- A revision that this log never had is of a history that the server has lost: it says nothing about this one.
    IF p_since > l_head.floor AND NOT EXISTS (SELECT FROM {schema}.cluster_log l
        WHERE l.cluster = p_cluster AND l.log = p_log AND l.revision = p_since) THEN
      p_since := 0;
    END IF;
    SELECT l.revision INTO at_revision FROM {schema}.cluster_log l
      WHERE l.cluster = p_cluster AND l.log = p_log AND l.revision > p_since AND l.request = p_request
      ORDER BY l.revision DESC LIMIT 1;
    IF FOUND THEN
      ${REMEMBER('at_revision')};
      RETURN;
    ELSIF l_head.floor > p_since THEN
      status := 'unknown';
      RETURN;
    END IF;
  END IF;
  WITH old AS (
    SELECT t.version, t.key FROM {schema}.cluster_tomb t
      WHERE t.cluster = p_cluster AND t.log = p_log AND t.version < l_now - p_keep_deleted_us ORDER BY t.version LIMIT ${CLEARED}
  ), forgotten AS (
    DELETE FROM {schema}.cluster_entry e USING old WHERE e.cluster = p_cluster AND e.log = p_log AND e.key = old.key AND e.json IS NULL
  )
  DELETE FROM {schema}.cluster_tomb t USING old
    WHERE t.cluster = p_cluster AND t.log = p_log AND t.version = old.version AND t.key = old.key;
  FOR l_op IN ${OPERATIONS} LOOP
    ${ENTRY};
    IF (CASE WHEN l_op.if_version = 0 THEN l_entry.json IS NOT NULL ELSE l_op.if_version <> coalesce(l_entry.version, 0) END) THEN
      status := 'conflict';
      found_key := l_op.key;
      found_version := coalesce(l_entry.version, 0);
      found_json := l_entry.json;
      found_instance := l_entry.instance;
      found_generation := l_entry.generation;
    ELSIF l_op.instance IS NOT NULL AND NOT EXISTS (SELECT FROM {schema}.cluster_member m
        WHERE m.cluster = p_cluster AND m.instance = l_op.instance AND m.generation = l_op.generation) THEN
      status := 'evicted';
      found_instance := l_op.instance;
      found_generation := l_op.generation;
    ELSIF l_op.kind = 'put' THEN
      l_changes := l_changes || json_build_object('kind', 'put', 'key', l_op.key, 'json', l_op.json,
        'instance', l_op.instance, 'generation', l_op.generation);
    ELSIF l_op.kind = 'delete' AND l_entry.json IS NOT NULL THEN
      l_changes := l_changes || json_build_object('kind', 'delete', 'key', l_op.key);
    END IF;
    IF status <> 'committed' THEN
      ${REMEMBER_NOTHING};
      RETURN;
    END IF;
  END LOOP;
  IF cardinality(l_changes) = 0 THEN
    changed := false;
    at_revision := l_head.revision;
    ${REMEMBER_NOTHING};
    RETURN;
  END IF;
  at_revision := {schema}.cluster_append(p_cluster, p_log, l_now, p_keep, p_request, array_to_json(l_changes)::text);
  UPDATE {schema}.cluster_head h SET keep = p_keep WHERE h.cluster = p_cluster AND h.log = p_log AND h.keep <> p_keep;
  FOR l_op IN ${OPERATIONS} LOOP
    ${ENTRY};
    CONTINUE WHEN l_op.kind = 'check' OR (l_op.kind = 'delete' AND l_entry.json IS NULL);
    IF l_entry.instance IS NOT NULL THEN
      DELETE FROM {schema}.cluster_bound b WHERE b.cluster = p_cluster AND b.instance = l_entry.instance
        AND b.generation = l_entry.generation AND b.log = p_log AND b.key = l_op.key;
    END IF;
    IF l_entry.key IS NOT NULL AND l_entry.json IS NULL THEN
      DELETE FROM {schema}.cluster_tomb t
        WHERE t.cluster = p_cluster AND t.log = p_log AND t.version = l_entry.version AND t.key = l_op.key;
    END IF;
    INSERT INTO {schema}.cluster_entry VALUES (p_cluster, p_log, l_op.key, at_revision,
        CASE WHEN l_op.kind = 'put' THEN l_op.json END, l_op.instance, l_op.generation)
      ON CONFLICT (cluster, log, key) DO UPDATE SET version = excluded.version, json = excluded.json,
        instance = excluded.instance, generation = excluded.generation;
    IF l_op.kind = 'delete' THEN
      INSERT INTO {schema}.cluster_tomb VALUES (p_cluster, p_log, at_revision, l_op.key);
    ELSIF l_op.instance IS NOT NULL THEN
      INSERT INTO {schema}.cluster_bound VALUES (p_cluster, l_op.instance, l_op.generation, p_log, l_op.key);
    END IF;
  END LOOP;
  ${REMEMBER('at_revision')};
  ${DURABLY};
END $$`

/** Deletes the entries bound to an ended generation: in one entry of each log, or several for very many. @returns the logs */
const UNBIND_FUNCTION = `
CREATE FUNCTION {schema}.cluster_unbind(p_cluster text, p_instance text, p_generation bigint, p_now bigint) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
  l_head {schema}.cluster_head;
  l_logs text[];
  l_log text;
  l_keys text[];
  l_revision bigint;
BEGIN
  l_logs := ARRAY(SELECT DISTINCT b.log FROM {schema}.cluster_bound b
    WHERE b.cluster = p_cluster AND b.instance = p_instance AND b.generation = p_generation ORDER BY b.log);
  FOREACH l_log IN ARRAY l_logs LOOP
    l_head := {schema}.cluster_lock_head(p_cluster, l_log);
    LOOP
      l_keys := ARRAY(SELECT b.key FROM {schema}.cluster_bound b WHERE b.cluster = p_cluster AND b.instance = p_instance
        AND b.generation = p_generation AND b.log = l_log ORDER BY b.key LIMIT ${TOGETHER});
      EXIT WHEN cardinality(l_keys) = 0;
      l_revision := {schema}.cluster_append(p_cluster, l_log, p_now, l_head.keep, '',
        (SELECT json_agg(json_build_object('kind', 'delete', 'key', k) ORDER BY n)::text FROM unnest(l_keys) WITH ORDINALITY AS each(k, n)));
      UPDATE {schema}.cluster_entry e SET version = l_revision, json = NULL, instance = NULL, generation = NULL
        WHERE e.cluster = p_cluster AND e.log = l_log AND e.key = ANY (l_keys);
      INSERT INTO {schema}.cluster_tomb SELECT p_cluster, l_log, l_revision, unnest(l_keys);
      DELETE FROM {schema}.cluster_bound b WHERE b.cluster = p_cluster AND b.instance = p_instance AND b.generation = p_generation
        AND b.log = l_log AND b.key = ANY (l_keys);
    END LOOP;
  END LOOP;
  RETURN l_logs;
END $$`

export const STATE_FUNCTIONS: readonly string[] = [COMMIT_FUNCTION, UNBIND_FUNCTION]
