/**
 * `saga_write(jsonb)`: applies a list of writes in key order (two writers of the same sagas cannot deadlock) and returns the numbers of those
 * that fitted: `previous` 0 inserts, another one is the revision that is replaced. Their timelines follow in one statement. A function, because
 * its plans are cached for the session: planning cost four times as much as the write itself. Plans are fixed and use the keys: by default
 * the server plans the timelines of small writes anew at each call, and keeps a plan that reads the whole table from when it was small.
 *
 * Columns that a write keeps (`due_at` above all) stay byte-identical, so that PostgreSQL leaves the indexes alone.
 */
export const WRITE_FUNCTION = `CREATE FUNCTION {schema}.saga_write(writes jsonb) RETURNS SETOF int LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  w record;
  fitted int[] := '{}';
BEGIN
  FOR w IN
    SELECT r.*, at, at + r.wake_ms * interval '1 millisecond' AS due,
      at + r.deadline_ms * interval '1 millisecond' AS deadline,
      CASE WHEN r.status IN ('completed', 'compensated') THEN at END AS ended
    FROM clock_timestamp() AS at, jsonb_to_recordset(writes) AS r(n int, name text, id text, version int, graph_hash text, status text,
      state jsonb, input jsonb, input_hash text, previous bigint, revision bigint, owner text, epoch bigint, wake_ms float8,
      mail jsonb, keep_due boolean, heed boolean, deadline_ms float8, trace jsonb, birth text, late boolean, home text)
    ORDER BY r.name, r.id
  LOOP
    IF w.previous = 0 THEN
      INSERT INTO {schema}.saga (name, id, version, graph_hash, status, state, input, input_hash, revision, owner, epoch,
        due_at, wait_ms, deadline_at, ended_at, created_at, updated_at, trace, birth, home)
      VALUES (w.name, w.id, w.version, w.graph_hash, w.status, w.state, w.input, w.input_hash, w.revision, w.owner, w.epoch,
        CASE WHEN w.heed THEN LEAST(w.due, w.deadline) ELSE w.due END,
        CASE WHEN w.heed THEN LEAST(w.wake_ms, w.deadline_ms) ELSE w.wake_ms END, w.deadline, w.ended, w.at, w.at, w.trace, w.birth, w.home)
      ON CONFLICT (name, id) DO NOTHING;
    ELSE
      UPDATE {schema}.saga s SET state = w.state, status = w.status, revision = w.revision, owner = w.owner,
        epoch = w.epoch, mail = w.mail, updated_at = w.at, ended_at = w.ended,
        late = coalesce(w.late, false),
        due_at = CASE WHEN w.keep_due THEN s.due_at WHEN w.heed THEN LEAST(w.due, s.deadline_at) ELSE w.due END,
        wait_ms = CASE WHEN w.keep_due THEN s.wait_ms
          WHEN w.heed THEN LEAST(w.wake_ms, extract(epoch FROM s.deadline_at - w.at) * 1000) ELSE w.wake_ms END
      WHERE s.name = w.name AND s.id = w.id AND s.revision = w.previous AND s.birth = w.birth;
    END IF;
    IF FOUND THEN
      fitted := fitted || w.n;
    END IF;
  END LOOP;
  INSERT INTO {schema}.saga_event (saga, id, kind, step, detail)
  SELECT r.name, r.id, e.value->>'kind', e.value->>'step', e.value->'detail'
  FROM jsonb_to_recordset(writes) AS r(n int, name text, id text, timeline jsonb),
    jsonb_array_elements(r.timeline) WITH ORDINALITY AS e(value, n)
  WHERE r.n = ANY(fitted) ORDER BY r.n, e.n;
  RETURN QUERY SELECT unnest(fitted);
END $$`
