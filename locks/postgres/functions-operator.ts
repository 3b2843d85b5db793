/** Functions for operators and maintenance. The others are in `functions.ts`. */
import { BY_INDEX, DURABLY, NOW, REQUIRE_READ_COMMITTED, WITHOUT_WAITING } from '../../core/sql-function-snippets.ts'
import { LOCK_THE_KEY, NEXT_TOKEN } from './functions.ts'

const AUDIT_ENTRIES = '100'
const AUDIT_KEPT_US = '90 * 86400000000'
/** How long ended holders can learn who ended them, and their late requests are refused. */
const FORCED_KNOWN_US = '60000000'

/** Leases of the key whose row is locked. */
const HELD = `
    SELECT h.value, h.owner, h.token, true AS shared, h.frees_us FROM {schema}.lock_holder h WHERE h.key = p_key
    UNION ALL
    SELECT l_key.value, l_key.owner, l_key.token, false, l_key.frees_us WHERE l_key.value IS NOT NULL AND l_key.frees_us > l_now
  `

/**
 * Invariants: afterwards the key has no holder; its token is above every granted one; requests of ended holders are refused, and
 * report who ended them; the audit entry was written; the first live waiter is called.
 *
 * `calls`: the values that were ended, then the one that is called. `others`: owners of the leases whose tokens are not among
 * `p_tokens`; if there are any, nothing is changed.
 */
const FORCE_FUNCTION = `
CREATE FUNCTION {schema}.lock_force(p_key text, p_home text, p_floor bigint, p_mark json, p_tokens bigint[],
  OUT at_us bigint, OUT raised bigint, OUT ended json, OUT calls text[], OUT others text[])
LANGUAGE plpgsql ${BY_INDEX} AS $$
DECLARE
  l_key {schema}.lock_key;
  l_now bigint;
  l_first record;
BEGIN
  ${REQUIRE_READ_COMMITTED};
  ${LOCK_THE_KEY};
  WITH held AS (${HELD}) SELECT array_agg(owner ORDER BY token) INTO others FROM held WHERE token <> ALL (p_tokens);
  IF others IS NOT NULL THEN
    ${WITHOUT_WAITING};
    RETURN;
  END IF;
  ${DURABLY};
  at_us := l_now;
  WITH held AS (${HELD}), dead AS (
    INSERT INTO {schema}.lock_dead (value, until_us, mark)
      SELECT value, greatest(l_now + ${FORCED_KNOWN_US}, frees_us), p_mark FROM held
      ON CONFLICT (value) DO UPDATE SET until_us = excluded.until_us, mark = excluded.mark
  )
  SELECT coalesce(json_agg(json_build_object('owner', owner, 'token', token::text, 'shared', shared)), '[]'),
      coalesce(array_agg(value), '{}')
    INTO ended, calls FROM held;
  DELETE FROM {schema}.lock_holder h WHERE h.key = p_key;
  raised := ${NEXT_TOKEN('p_floor', 'l_key.token')};
  UPDATE {schema}.lock_key k SET token = raised, value = NULL, since_us = l_now WHERE k.key = p_key;
  INSERT INTO {schema}.lock_audit (key, at_us, token, mark, ended) VALUES (p_key, l_now, raised, p_mark, ended);
  DELETE FROM {schema}.lock_audit a WHERE a.key = p_key AND a.entry <= (
    SELECT b.entry FROM {schema}.lock_audit b WHERE b.key = p_key ORDER BY b.entry DESC OFFSET ${AUDIT_ENTRIES} LIMIT 1);
  SELECT * INTO l_first FROM {schema}.lock_first(p_key, 0, NULL, l_now, p_home);
  IF l_first.calls IS NOT NULL THEN calls := calls || l_first.calls; END IF;
END $$`

/** Small tables are swept once a minute, keys unused for a day once an hour, each time by one process. */
const SWEEP_US = '60000000'
const KEYS_US = '3600000000'
const UNUSED_US = '86400000000'

/**
 * Deletes expired data, so that tables do not grow with the values and keys that were ever used. The token of a deleted key goes
 * into the floor, below which no new key starts: its tokens stay below all later ones.
 */
const SWEEP_FUNCTION = `
CREATE FUNCTION {schema}.lock_sweep(p_limit int) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  l_now bigint := ${NOW};
  l_due {schema}.lock_upkeep;
  l_most bigint;
  l_count bigint := 0;
BEGIN
  ${REQUIRE_READ_COMMITTED};
  ${WITHOUT_WAITING};
  SELECT * INTO l_due FROM {schema}.lock_upkeep u WHERE u.swept_us NOT BETWEEN l_now - ${SWEEP_US} AND l_now FOR UPDATE SKIP LOCKED;
  IF NOT FOUND THEN RETURN false; END IF;
  UPDATE {schema}.lock_upkeep SET swept_us = l_now;
  DELETE FROM {schema}.lock_dead d WHERE d.until_us <= l_now;
  DELETE FROM {schema}.lock_client c WHERE c.live_us <= l_now - ${SWEEP_US};
  DELETE FROM {schema}.lock_waiter t WHERE t.kept_us <= l_now - ${SWEEP_US};
  DELETE FROM {schema}.lock_audit a WHERE a.at_us <= l_now - ${AUDIT_KEPT_US};
  IF l_due.keys_us BETWEEN l_now - ${KEYS_US} AND l_now THEN RETURN false; END IF;
  WITH unused AS (
    SELECT k.key FROM {schema}.lock_key k
    WHERE k.since_us <= l_now - ${UNUSED_US} AND k.token <= l_now AND (k.value IS NULL OR k.frees_us <= l_now)
      AND NOT EXISTS (SELECT FROM {schema}.lock_holder h WHERE h.key = k.key)
      AND NOT EXISTS (SELECT FROM {schema}.lock_waiter t WHERE t.key = k.key)
    LIMIT p_limit FOR UPDATE SKIP LOCKED
  ), gone AS (
    DELETE FROM {schema}.lock_key k USING unused WHERE k.key = unused.key RETURNING k.token
  )
  SELECT max(token), count(*) INTO l_most, l_count FROM gone;
  IF l_most IS NULL THEN
    UPDATE {schema}.lock_upkeep SET keys_us = l_now;
  ELSE
    ${DURABLY};
    UPDATE {schema}.lock_upkeep
    SET floor = greatest(floor, l_most), swept_us = CASE WHEN l_count = p_limit THEN 0 ELSE l_now END;
  END IF;
  DELETE FROM {schema}.lock_holder h WHERE h.frees_us <= l_now - ${SWEEP_US};
  RETURN l_count = p_limit;
END $$`

export const OPERATOR_FUNCTIONS: readonly string[] = [FORCE_FUNCTION, SWEEP_FUNCTION]
