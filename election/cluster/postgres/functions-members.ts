import { BY_INDEX, DURABLY, NOW, REQUIRE_READ_COMMITTED, WITHOUT_WAITING } from '../../../core/sql-function-snippets.ts'

/** Number of transitions that the log keeps. */
const KEEP = '1000'
const GIVEN_UP_US = '60000000'
/** Maximum number of members that one sweep ends, or suspects. */
const AT_ONCE = '128'

const MEMBER = `SELECT * INTO l_member FROM {schema}.cluster_member m WHERE m.cluster = p_cluster AND m.instance = p_instance`

/** End of its full time. */
const FULL_TIME = (member: string): string =>
  `l_now + 1000 * CASE WHEN ${member}.status = 'alive' THEN ${member}.suspect_ms ELSE ${member}.dead_ms - ${member}.suspect_ms END`

/** Records that a member may be due at that time: sweeps check no earlier. */
const DUE_AT = (due: string): string => `UPDATE {schema}.cluster_head h SET next_due_us = least(h.next_due_us, ${due})
    WHERE h.cluster = p_cluster AND h.log = 'members'`

const TELL_FUNCTION = `
CREATE FUNCTION {schema}.cluster_tell(p_member {schema}.cluster_member, p_transition text, p_now bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM {schema}.cluster_append(p_member.cluster, 'members', p_now, ${KEEP}, '', json_build_array(json_build_object(
    'kind', p_transition, 'instance', p_member.instance, 'generation', p_member.generation, 'status', p_member.status,
    'joinedAt', p_member.joined_at, 'sequence', p_member.sequence, 'suspectAfterMs', p_member.suspect_ms,
    'deadAfterMs', p_member.dead_ms, 'joinId', p_member.join_id, 'json', p_member.json))::text);
END $$`

/**
 * Declares members without timely heartbeats suspect, then dead. But a member whose time until suspicion is shorter than the time
 * since the last sweep could not have been confirmed, and gets its full time again; so do all when the server was started since,
 * or its clock was set back. `p_guard_ms`: interval after which all members are checked, not only those due.
 *
 * An ending member is deleted first, then its bound entries, so a commit that binds to it waits for neither, or is already done.
 */
const SWEEP_ALL_FUNCTION = `
CREATE FUNCTION {schema}.cluster_sweep_all(p_cluster text, p_guard_ms bigint, p_head {schema}.cluster_head, p_now bigint)
RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
  l_now bigint := p_now;
  l_run bigint := (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint;
  l_gap bigint := p_now - coalesce(p_head.swept_us, p_now);
  l_anew boolean := p_head.swept_us IS NOT NULL AND (p_now < p_head.swept_us OR p_head.run <> l_run);
  l_member {schema}.cluster_member;
  l_ended {schema}.cluster_member[] := '{}';
  l_touched text[] := '{}';
BEGIN
  IF l_anew OR l_gap > p_guard_ms * 1000 THEN
    UPDATE {schema}.cluster_member m SET due_us = ${FULL_TIME('m')}
      WHERE m.cluster = p_cluster AND (l_anew OR l_gap > m.suspect_ms * 1000);
  END IF;
  -- Times that were counted anew may come before the one that was kept.
  IF l_anew OR l_gap > p_guard_ms * 1000 OR l_now >= p_head.next_due_us THEN
    FOR l_member IN SELECT * FROM {schema}.cluster_member m WHERE m.cluster = p_cluster AND m.due_us <= l_now
        ORDER BY m.due_us, m.instance LIMIT ${AT_ONCE} LOOP
      IF l_gap > l_member.suspect_ms * 1000 THEN
        UPDATE {schema}.cluster_member m SET due_us = ${FULL_TIME('m')} WHERE m.cluster = p_cluster AND m.instance = l_member.instance;
      ELSIF l_member.status = 'suspect' THEN
        DELETE FROM {schema}.cluster_member m WHERE m.cluster = p_cluster AND m.instance = l_member.instance;
        PERFORM {schema}.cluster_tell(l_member, 'dead', l_now);
        l_ended := l_ended || l_member;
      ELSE
        UPDATE {schema}.cluster_member m SET status = 'suspect', due_us = l_now + 1000 * (m.dead_ms - m.suspect_ms)
          WHERE m.cluster = p_cluster AND m.instance = l_member.instance RETURNING * INTO l_member;
        PERFORM {schema}.cluster_tell(l_member, 'suspect', l_now);
        l_touched := ARRAY['members'];
      END IF;
    END LOOP;
    UPDATE {schema}.cluster_head h
      SET next_due_us = coalesce((SELECT min(m.due_us) FROM {schema}.cluster_member m WHERE m.cluster = p_cluster), 9223372036854775807)
      WHERE h.cluster = p_cluster AND h.log = 'members';
  END IF;
  UPDATE {schema}.cluster_head h SET swept_us = l_now, run = l_run WHERE h.cluster = p_cluster AND h.log = 'members';
  FOREACH l_member IN ARRAY l_ended LOOP
    l_touched := l_touched || 'members'::text || {schema}.cluster_unbind(p_cluster, l_member.instance, l_member.generation, l_now);
  END LOOP;
  RETURN l_touched;
END $$`

/**
 * Generations rise strictly in the cluster; one join creates one generation, however often it is sent; an instance has one
 * generation at a time, and the previous one ends first.
 */
const JOIN_FUNCTION = `
CREATE FUNCTION {schema}.cluster_join(p_cluster text, p_instance text, p_join_id text, p_json text, p_suspect_ms bigint, p_dead_ms bigint,
  OUT status text, OUT given bigint, OUT touched text[])
LANGUAGE plpgsql ${BY_INDEX} AS $$
DECLARE
  l_head {schema}.cluster_head;
  l_member {schema}.cluster_member;
  l_now bigint;
BEGIN
  ${REQUIRE_READ_COMMITTED};
  l_head := {schema}.cluster_lock_head(p_cluster, 'members');
  l_now := ${NOW};
  touched := '{}';
  ${MEMBER};
  IF l_member.join_id = p_join_id THEN
    status := 'joined';
    given := l_member.generation;
    RETURN;
  END IF;
  IF EXISTS (SELECT FROM {schema}.cluster_gone g WHERE g.cluster = p_cluster AND g.join_id = p_join_id AND g.until_us > l_now) THEN
    status := 'given_up';
    RETURN;
  END IF;
  ${DURABLY};
  IF l_member.instance IS NOT NULL THEN
    DELETE FROM {schema}.cluster_member m WHERE m.cluster = p_cluster AND m.instance = p_instance;
    PERFORM {schema}.cluster_tell(l_member, 'replaced', l_now);
    touched := {schema}.cluster_unbind(p_cluster, p_instance, l_member.generation, l_now);
  END IF;
  status := 'joined';
  given := greatest(l_head.generation + 1, l_now);
  INSERT INTO {schema}.cluster_member VALUES (p_cluster, p_instance, given, 'alive', l_now / 1000, 0, p_suspect_ms, p_dead_ms,
    p_join_id, p_json, l_now + p_suspect_ms * 1000) RETURNING * INTO l_member;
  UPDATE {schema}.cluster_head h SET generation = given WHERE h.cluster = p_cluster AND h.log = 'members';
  ${DUE_AT('l_member.due_us')};
  PERFORM {schema}.cluster_tell(l_member, 'joined', l_now);
  touched := touched || 'members'::text;
END $$`

/** Only the current generation is confirmed; the member that sends a heartbeat is not swept by it. */
const BEAT_FUNCTION = `
CREATE FUNCTION {schema}.cluster_beat(p_cluster text, p_instance text, p_generation bigint, p_guard_ms bigint,
  OUT status text, OUT current bigint, OUT touched text[])
LANGUAGE plpgsql ${BY_INDEX} AS $$
DECLARE
  l_head {schema}.cluster_head;
  l_member {schema}.cluster_member;
  l_was text;
  l_now bigint;
BEGIN
  ${REQUIRE_READ_COMMITTED};
  SELECT * INTO l_head FROM {schema}.cluster_head h WHERE h.cluster = p_cluster AND h.log = 'members' FOR UPDATE;
  l_now := ${NOW};
  touched := '{}';
  ${MEMBER};
  IF l_member.generation IS DISTINCT FROM p_generation THEN
    status := CASE WHEN coalesce(l_head.revision, 0) = 0 THEN 'forgotten' ELSE 'evicted' END;
    current := l_member.generation;
    ${WITHOUT_WAITING};
    RETURN;
  END IF;
  status := 'confirmed';
  l_was := l_member.status;
  UPDATE {schema}.cluster_member m SET status = 'alive', due_us = l_now + m.suspect_ms * 1000
    WHERE m.cluster = p_cluster AND m.instance = p_instance RETURNING * INTO l_member;
  IF l_member.due_us < l_head.next_due_us THEN
    ${DUE_AT('l_member.due_us')};
  END IF;
  IF l_was = 'suspect' THEN
    PERFORM {schema}.cluster_tell(l_member, 'recovered', l_now);
    touched := ARRAY['members'];
  END IF;
  touched := touched || {schema}.cluster_sweep_all(p_cluster, p_guard_ms, l_head, l_now);
  IF touched = '{}' THEN
    ${WITHOUT_WAITING};
  ELSE
    ${DURABLY};
  END IF;
END $$`

const SWEEP_FUNCTION = `
CREATE FUNCTION {schema}.cluster_sweep(p_cluster text, p_guard_ms bigint, OUT touched text[]) LANGUAGE plpgsql ${BY_INDEX} AS $$
DECLARE
  l_head {schema}.cluster_head;
BEGIN
  ${REQUIRE_READ_COMMITTED};
  touched := '{}';
  SELECT * INTO l_head FROM {schema}.cluster_head h WHERE h.cluster = p_cluster AND h.log = 'members' FOR UPDATE;
  IF l_head.revision > 0 THEN
    touched := {schema}.cluster_sweep_all(p_cluster, p_guard_ms, l_head, ${NOW});
  END IF;
  IF touched = '{}' THEN
    ${WITHOUT_WAITING};
  ELSE
    ${DURABLY};
  END IF;
END $$`

const DESCRIBE_FUNCTION = `
CREATE FUNCTION {schema}.cluster_describe(p_cluster text, p_instance text, p_generation bigint, p_sequence bigint, p_json text,
  OUT done boolean, OUT touched text[])
LANGUAGE plpgsql ${BY_INDEX} AS $$
DECLARE
  l_head {schema}.cluster_head;
  l_member {schema}.cluster_member;
  l_now bigint;
BEGIN
  ${REQUIRE_READ_COMMITTED};
  touched := '{}';
  SELECT * INTO l_head FROM {schema}.cluster_head h WHERE h.cluster = p_cluster AND h.log = 'members' FOR UPDATE;
  l_now := ${NOW};
  ${MEMBER};
  done := coalesce(l_member.generation = p_generation, false);
  IF done AND p_sequence > l_member.sequence THEN
    UPDATE {schema}.cluster_member m SET sequence = p_sequence, json = p_json
      WHERE m.cluster = p_cluster AND m.instance = p_instance RETURNING * INTO l_member;
    PERFORM {schema}.cluster_tell(l_member, 'updated', l_now);
    touched := ARRAY['members'];
    ${DURABLY};
  END IF;
END $$`

/** Ends only the membership that began with this join. */
const LEAVE_FUNCTION = `
CREATE FUNCTION {schema}.cluster_leave(p_cluster text, p_instance text, p_join_id text, p_forget boolean, OUT touched text[])
LANGUAGE plpgsql ${BY_INDEX} AS $$
DECLARE
  l_head {schema}.cluster_head;
  l_member {schema}.cluster_member;
  l_now bigint;
BEGIN
  ${REQUIRE_READ_COMMITTED};
  ${DURABLY};
  touched := '{}';
  SELECT * INTO l_head FROM {schema}.cluster_head h WHERE h.cluster = p_cluster AND h.log = 'members' FOR UPDATE;
  l_now := ${NOW};
  IF p_forget THEN
    DELETE FROM {schema}.cluster_gone g WHERE g.cluster = p_cluster AND g.until_us <= l_now;
    INSERT INTO {schema}.cluster_gone VALUES (p_cluster, p_join_id, l_now + ${GIVEN_UP_US})
      ON CONFLICT (cluster, join_id) DO UPDATE SET until_us = excluded.until_us;
  END IF;
  ${MEMBER};
  IF l_member.join_id = p_join_id THEN
    DELETE FROM {schema}.cluster_member m WHERE m.cluster = p_cluster AND m.instance = p_instance;
    PERFORM {schema}.cluster_tell(l_member, 'left', l_now);
    touched := 'members'::text || {schema}.cluster_unbind(p_cluster, p_instance, l_member.generation, l_now);
  END IF;
END $$`

/** The first process that restores an unknown cluster is believed; each member gets its full time. */
const RESTORE_FUNCTION = `
CREATE FUNCTION {schema}.cluster_restore(p_cluster text, p_members json, OUT touched text[]) LANGUAGE plpgsql ${BY_INDEX} AS $$
DECLARE
  l_head {schema}.cluster_head;
  l_member {schema}.cluster_member;
  l_told json;
  l_now bigint;
BEGIN
  ${REQUIRE_READ_COMMITTED};
  touched := '{}';
  l_head := {schema}.cluster_lock_head(p_cluster, 'members');
  l_now := ${NOW};
  IF l_head.revision > 0 THEN RETURN; END IF;
  ${DURABLY};
  FOR l_told IN SELECT * FROM json_array_elements(p_members) LOOP
    INSERT INTO {schema}.cluster_member VALUES (p_cluster, l_told->>'instance', (l_told->>'generation')::bigint, 'alive',
      (l_told->>'joinedAt')::bigint, (l_told->>'sequence')::bigint, (l_told->>'suspectAfterMs')::bigint,
      (l_told->>'deadAfterMs')::bigint, l_told->>'joinId', l_told->>'json', l_now + 1000 * (l_told->>'suspectAfterMs')::bigint)
      RETURNING * INTO l_member;
    ${DUE_AT('l_member.due_us')};
    UPDATE {schema}.cluster_head h SET generation = greatest(h.generation, l_member.generation)
      WHERE h.cluster = p_cluster AND h.log = 'members';
    PERFORM {schema}.cluster_tell(l_member, 'joined', l_now);
    touched := ARRAY['members'];
  END LOOP;
END $$`

export const MEMBER_FUNCTIONS: readonly string[] = [
  TELL_FUNCTION,
  SWEEP_ALL_FUNCTION,
  JOIN_FUNCTION,
  BEAT_FUNCTION,
  SWEEP_FUNCTION,
  DESCRIBE_FUNCTION,
  LEAVE_FUNCTION,
  RESTORE_FUNCTION,
]
