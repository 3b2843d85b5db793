/**
 * Every state change of a lock is one of these functions, called in its own transaction: it locks the row of the key, then reads
 * the server's clock, so that steps on one key happen one after the other, and each decides by a time later than that of the
 * previous step.
 *
 * They are functions because of their SET clauses: the statistics of these tables are always outdated, and only plans that follow
 * an index must remain. They are in plpgsql because each statement then sees everything that was committed before it.
 *
 * The cost of durability is paid only where needed: a grant and a renewal wait for the disk, whatever the session's
 * `synchronous_commit`; steps that only release, refuse or keep a place do not. A crash of the server can undo these: a lock is
 * then held a little longer, or a waiter asks for a place again.
 */
import { BY_INDEX, DURABLY, NOW, REQUIRE_READ_COMMITTED, WITHOUT_WAITING } from '../../core/sql-function-snippets.ts'

/** Above any real number: the limit of a reader, and the weight of an exclusive holder. */
export const ENDLESS = '9223372036854775807'

/** A called waiter has this long to ask; then the next one is called. */
const ANSWER_US = '1500000'

/**
 * Makes sure that the row of the key exists, locks it, reads the clock, and removes expired claims. A claim with more time left
 * than was ever granted dates from before the clock was set back: its time is counted again, once.
 */
export const LOCK_THE_KEY = `LOOP
    SELECT * INTO l_key FROM {schema}.lock_key k WHERE k.key = p_key FOR UPDATE;
    EXIT WHEN FOUND;
    INSERT INTO {schema}.lock_key (key, token) VALUES (p_key, 0) ON CONFLICT DO NOTHING;
  END LOOP;
  l_now := ${NOW};
  IF l_key.value IS NOT NULL AND l_key.frees_us > l_now + l_key.hold_ms * 1000 THEN
    UPDATE {schema}.lock_key k SET frees_us = l_now + k.hold_ms * 1000 WHERE k.key = p_key RETURNING * INTO l_key;
  END IF;
  UPDATE {schema}.lock_holder h SET frees_us = l_now + h.hold_ms * 1000 WHERE h.key = p_key AND h.frees_us > l_now + h.hold_ms * 1000;
  DELETE FROM {schema}.lock_holder h WHERE h.key = p_key AND h.frees_us <= l_now`

/** Number of holders of the key; an exclusive holder uses all capacity. */
export const HOLDING = `CASE WHEN l_key.value IS NOT NULL AND l_key.frees_us > l_now THEN ${ENDLESS}
    ELSE (SELECT count(*) FROM {schema}.lock_holder h WHERE h.key = p_key) END`

/** The next token. A new row knows no previous token: tokens granted before its predecessor was deleted are below the floor. */
export const NEXT_TOKEN = (floor: string, last: string): string =>
  `greatest(${last} + 1, l_now, ${floor} + 1,
    CASE WHEN ${last} = 0 THEN (SELECT u.floor + 1 FROM {schema}.lock_upkeep u WHERE u.one) ELSE 0 END)`

/** Alive: it reported recently, and the connection on which it listens exists. */
const IS_ALIVE = (client: string, now: string): string =>
  `(${client}.live_us > ${now} AND (${client}.backend IS NULL OR EXISTS (SELECT FROM pg_stat_get_activity(${client}.backend))))`

/**
 * The first live waiter: its place is kept, and it is in the caller's process (`p_home`) or its client reported recently. If
 * there is capacity for it beside the holders, and unless it is `p_me`, it is called and has a moment to ask; in the caller's
 * process, where no message can be lost and no waiter can be dead, it gets the lock immediately. Dead waiters are removed.
 *
 * `calls`: values to notify, as `<value>` or, with the token of a granted lock, `<value>=<token>`.
 */
const FIRST_FUNCTION = `
CREATE FUNCTION {schema}.lock_first(p_key text, p_holding bigint, p_me text, p_now bigint, p_home text,
  OUT first text, OUT obstacle text, OUT until_us bigint, OUT calls text, OUT given boolean)
LANGUAGE plpgsql AS $$
DECLARE
  w record;
  l_now bigint := p_now;
BEGIN
  given := false;
  LOOP
    SELECT t.*, c.live_us, c.hears, c.backend INTO w FROM {schema}.lock_waiter t
      LEFT JOIN {schema}.lock_client c ON c.client = t.client
      WHERE t.key = p_key ORDER BY t.place LIMIT 1;
    IF NOT FOUND THEN RETURN; END IF;
    EXIT WHEN w.value = p_me OR (w.kept_us > p_now AND (w.home = p_home OR ${IS_ALIVE('w', 'p_now')}));
    DELETE FROM {schema}.lock_waiter t WHERE t.key = p_key AND t.place = w.place;
  END LOOP;
  first := w.value;
  obstacle := w.owner;
  until_us := w.kept_us;
  IF w.value = p_me OR p_holding >= w.most THEN RETURN; END IF;
  IF w.hand_over AND w.home = p_home AND NOT w.shared THEN
    UPDATE {schema}.lock_key k SET value = w.value, owner = w.owner, since_us = p_now, delay_ms = w.delay_ms,
        hold_ms = w.ttl_ms + w.delay_ms, frees_us = p_now + (w.ttl_ms + w.delay_ms) * 1000, token = ${NEXT_TOKEN('w.floor', 'k.token')}
      WHERE k.key = p_key RETURNING w.value || '=' || k.token INTO calls;
    DELETE FROM {schema}.lock_waiter t WHERE t.key = p_key AND t.place = w.place;
    given := true;
    ${DURABLY};
  ELSE
    until_us := least(w.kept_us, p_now + ${ANSWER_US});
    IF until_us < w.kept_us THEN
      UPDATE {schema}.lock_waiter t SET kept_us = until_us WHERE t.key = p_key AND t.place = w.place;
    END IF;
    IF w.home = p_home OR w.hears THEN calls := w.value; END IF;
  END IF;
END $$`

/**
 * Grants the claim, or returns the obstacle after keeping its place in the queue for `p_keep_ms`.
 *
 * Invariants: the number of holders never exceeds the claim's limit; a token is greater than every earlier token; the lock goes
 * to the first live waiter, or to a newcomer only if there is none; a repeated request of the same value gets the same grant,
 * with its time counted again; a value that was given up gets nothing.
 */
const ACQUIRE_FUNCTION = `
CREATE FUNCTION {schema}.lock_acquire(p_key text, p_value text, p_client text, p_home text, p_owner text, p_shared boolean,
  p_most bigint, p_ttl_ms bigint, p_delay_ms int, p_floor bigint, p_keep_ms bigint, p_hand_over boolean,
  OUT status text, OUT granted bigint, OUT retry_us bigint, OUT ahead int, OUT obstacle text, OUT calls text)
LANGUAGE plpgsql ${BY_INDEX} AS $$
DECLARE
  l_key {schema}.lock_key;
  l_now bigint := ${NOW};
  l_hold bigint;
  l_frees bigint;
  l_holding bigint;
  l_first record;
  l_next record;
  l_place bigint;
BEGIN
  ${REQUIRE_READ_COMMITTED};
  status := 'busy';
  IF p_keep_ms = 0 THEN
    SELECT * INTO l_key FROM {schema}.lock_key k WHERE k.key = p_key;
    IF FOUND AND l_key.value <> p_value AND l_key.frees_us > l_now AND l_key.frees_us <= l_now + l_key.hold_ms * 1000 THEN
      retry_us := l_key.frees_us - l_now;
      obstacle := l_key.owner;
      RETURN;
    END IF;
  END IF;
  ${LOCK_THE_KEY};
  l_hold := p_ttl_ms + p_delay_ms;
  l_frees := l_now + l_hold * 1000;
  granted := l_key.token;
  IF p_shared THEN
    UPDATE {schema}.lock_holder h SET frees_us = l_frees, hold_ms = l_hold
      WHERE h.key = p_key AND h.value = p_value RETURNING h.token INTO granted;
    IF FOUND THEN status := 'granted'; END IF;
  ELSIF l_key.value = p_value AND l_key.frees_us > l_now THEN
    UPDATE {schema}.lock_key k SET frees_us = l_frees, hold_ms = l_hold WHERE k.key = p_key;
    status := 'granted';
  END IF;
  IF status = 'granted' THEN
    ${DURABLY};
    RETURN;
  END IF;
  IF EXISTS (SELECT FROM {schema}.lock_dead d WHERE d.value = p_value AND d.until_us > l_now) THEN
    status := 'given up';
    ${WITHOUT_WAITING};
    RETURN;
  END IF;
  l_holding := ${HOLDING};
  SELECT NULL::text AS first, NULL::text AS obstacle, NULL::bigint AS until_us, false AS given INTO l_first;
  IF l_holding < p_most THEN
    SELECT * INTO l_first FROM {schema}.lock_first(p_key, l_holding, p_value, l_now, p_home);
    calls := l_first.calls;
    IF l_first.first IS NULL OR l_first.first = p_value THEN
      status := 'granted';
      IF l_first.first = p_value THEN
        DELETE FROM {schema}.lock_waiter t WHERE t.key = p_key AND t.value = p_value;
      END IF;
      granted := ${NEXT_TOKEN('p_floor', 'l_key.token')};
      UPDATE {schema}.lock_key k SET token = granted, value = CASE WHEN p_shared THEN NULL ELSE p_value END,
        owner = p_owner, since_us = l_now, frees_us = l_frees, hold_ms = l_hold, delay_ms = p_delay_ms WHERE k.key = p_key;
      IF p_shared THEN
        INSERT INTO {schema}.lock_holder VALUES (p_key, p_value, granted, p_owner, p_most, l_now, l_frees, l_hold, p_delay_ms);
        SELECT * INTO l_next FROM {schema}.lock_first(p_key, l_holding + 1, NULL, l_now, p_home);
        calls := l_next.calls;
      END IF;
      ${DURABLY};
      RETURN;
    END IF;
  END IF;
  IF NOT l_first.given THEN ${WITHOUT_WAITING}; END IF;
  IF p_keep_ms > 0 THEN
    UPDATE {schema}.lock_waiter t SET kept_us = l_now + p_keep_ms * 1000, ttl_ms = p_ttl_ms, floor = p_floor, hand_over = p_hand_over
      WHERE t.key = p_key AND t.value = p_value RETURNING t.place INTO l_place;
    IF NOT FOUND THEN
      INSERT INTO {schema}.lock_waiter (key, value, client, home, owner, shared, most, kept_us, ttl_ms, delay_ms, floor, hand_over)
        VALUES (p_key, p_value, p_client, p_home, p_owner, p_shared, p_most, l_now + p_keep_ms * 1000, p_ttl_ms, p_delay_ms,
          p_floor, p_hand_over) RETURNING place INTO l_place;
    END IF;
  ELSE
    SELECT t.place INTO l_place FROM {schema}.lock_waiter t WHERE t.key = p_key AND t.value = p_value;
  END IF;
  IF l_place IS NOT NULL THEN
    SELECT count(*) INTO ahead FROM {schema}.lock_waiter t WHERE t.key = p_key AND t.place < l_place;
  END IF;
  IF l_first.first IS NOT NULL THEN
    retry_us := l_first.until_us - l_now;
    obstacle := l_first.obstacle;
  ELSIF l_key.value IS NOT NULL AND l_key.frees_us > l_now THEN
    retry_us := l_key.frees_us - l_now;
    obstacle := l_key.owner;
  ELSE
    -- When so many have ended that there is room.
    SELECT h.frees_us - l_now, h.owner INTO retry_us, obstacle
      FROM (SELECT * FROM {schema}.lock_holder i WHERE i.key = p_key) h
      ORDER BY h.frees_us OFFSET greatest(0, l_holding - p_most) LIMIT 1;
  END IF;
END $$`

/** Result for a claim that is not held: who ended it and why, if an operator did. */
const MARK = `SELECT d.mark INTO mark FROM {schema}.lock_dead d WHERE d.value = p_value AND d.until_us > l_now`

/** Sets the remaining time. Invariant: an expired claim is not revived. */
const EXTEND_FUNCTION = `
CREATE FUNCTION {schema}.lock_extend(p_key text, p_value text, p_shared boolean, p_hold_ms bigint, OUT done boolean, OUT mark json)
LANGUAGE plpgsql ${BY_INDEX} AS $$
DECLARE
  l_now bigint;
BEGIN
  ${REQUIRE_READ_COMMITTED};
  PERFORM FROM {schema}.lock_key k WHERE k.key = p_key FOR UPDATE;
  l_now := ${NOW};
  IF p_shared THEN
    UPDATE {schema}.lock_holder h SET frees_us = l_now + p_hold_ms * 1000, hold_ms = p_hold_ms
      WHERE h.key = p_key AND h.value = p_value AND h.frees_us > l_now;
  ELSE
    UPDATE {schema}.lock_key k SET frees_us = l_now + p_hold_ms * 1000, hold_ms = p_hold_ms
      WHERE k.key = p_key AND k.value = p_value AND k.frees_us > l_now;
  END IF;
  done := FOUND;
  IF done THEN
    ${DURABLY};
  ELSE
    ${WITHOUT_WAITING};
    ${MARK};
  END IF;
END $$`

/** The value is given up: a later request for it gets nothing. */
const BURY = `IF p_forget_ms > 0 THEN
    INSERT INTO {schema}.lock_dead AS d (value, until_us) VALUES (p_value, l_now + p_forget_ms * 1000)
      ON CONFLICT (value) DO UPDATE SET until_us = excluded.until_us, mark = NULL WHERE d.until_us <= l_now;
  END IF`

/** Removes the holder. Invariant: only the holder frees the key; the first live waiter is given it, or called. */
const RELEASE_FUNCTION = `
CREATE FUNCTION {schema}.lock_release(p_key text, p_value text, p_home text, p_shared boolean, p_forget_ms bigint,
  OUT done boolean, OUT mark json, OUT calls text)
LANGUAGE plpgsql ${BY_INDEX} AS $$
DECLARE
  l_key {schema}.lock_key;
  l_now bigint;
  l_first record;
  l_given boolean := false;
BEGIN
  ${REQUIRE_READ_COMMITTED};
  ${LOCK_THE_KEY};
  IF p_shared THEN
    DELETE FROM {schema}.lock_holder h WHERE h.key = p_key AND h.value = p_value;
    done := FOUND;
  ELSE
    done := coalesce(l_key.value = p_value AND l_key.frees_us > l_now, false);
    IF done THEN
      UPDATE {schema}.lock_key k SET value = NULL WHERE k.key = p_key;
      l_key.value := NULL;
    END IF;
  END IF;
  IF NOT done THEN ${MARK}; END IF;
  ${BURY};
  IF done THEN
    SELECT * INTO l_first FROM {schema}.lock_first(p_key, ${HOLDING}, NULL, l_now, p_home);
    calls := l_first.calls;
    l_given := l_first.given;
  END IF;
  IF p_forget_ms > 0 OR l_given THEN
    ${DURABLY};
  ELSE
    ${WITHOUT_WAITING};
  END IF;
END $$`

/**
 * Removes the value from the queue and (with `p_free`) from the holders. Invariants: late requests for it are refused; if there
 * is capacity now, the first live waiter has been called, so that no call is lost with the waiter it was meant for.
 */
const ABANDON_FUNCTION = `
CREATE FUNCTION {schema}.lock_abandon(p_key text, p_value text, p_home text, p_forget_ms bigint, p_free boolean, OUT calls text)
LANGUAGE plpgsql ${BY_INDEX} AS $$
DECLARE
  l_key {schema}.lock_key;
  l_now bigint;
  l_holding bigint;
  l_first record;
BEGIN
  ${REQUIRE_READ_COMMITTED};
  ${LOCK_THE_KEY};
  IF p_free THEN
    DELETE FROM {schema}.lock_holder h WHERE h.key = p_key AND h.value = p_value;
    UPDATE {schema}.lock_key k SET value = NULL WHERE k.key = p_key AND k.value = p_value;
    IF FOUND THEN l_key.value := NULL; END IF;
  END IF;
  DELETE FROM {schema}.lock_waiter t WHERE t.key = p_key AND t.value = p_value;
  ${BURY};
  ${DURABLY};
  l_holding := ${HOLDING};
  IF l_holding < ${ENDLESS} THEN
    SELECT * INTO l_first FROM {schema}.lock_first(p_key, l_holding, NULL, l_now, p_home);
    calls := l_first.calls;
  END IF;
END $$`

/**
 * Reports a client as alive, and returns the state of the values that it asks for: `turn` (it may have its turn now), `given` (it
 * holds the lock, and its time is not over; with its token if held exclusively), `ended` by force, `gone`: none of these, and not
 * in the queue. Values that still wait are not mentioned.
 */
const BEAT_FUNCTION = `
CREATE FUNCTION {schema}.lock_beat(p_client text, p_hears boolean, p_backend int, p_live_ms bigint, p_keys text[], p_values text[])
RETURNS TABLE (about text, news text, granted bigint) LANGUAGE plpgsql ${BY_INDEX} AS $$
DECLARE
  l_now bigint := ${NOW};
BEGIN
  ${REQUIRE_READ_COMMITTED};
  ${WITHOUT_WAITING};
  -- A proxy may have told a number that is none.
  INSERT INTO {schema}.lock_client AS c VALUES (p_client, l_now + p_live_ms * 1000, p_hears,
      (SELECT a.pid FROM pg_stat_get_activity(p_backend) AS a WHERE p_backend IS NOT NULL))
    ON CONFLICT (client) DO UPDATE SET live_us = excluded.live_us, hears = excluded.hears, backend = excluded.backend;
  RETURN QUERY
    SELECT q.value, CASE WHEN w.value IS NOT NULL THEN 'turn'
        WHEN k.value = q.value AND k.frees_us > l_now OR h.value IS NOT NULL THEN 'given'
        WHEN d.mark IS NOT NULL THEN 'ended' ELSE 'gone' END,
      CASE WHEN k.value = q.value AND k.frees_us > l_now AND w.value IS NULL THEN k.token END
    FROM unnest(p_keys, p_values) AS q(key, value)
      LEFT JOIN {schema}.lock_key k ON k.key = q.key
      LEFT JOIN {schema}.lock_waiter w ON w.key = q.key AND w.value = q.value
      LEFT JOIN {schema}.lock_holder h ON h.key = q.key AND h.value = q.value AND h.frees_us > l_now
      LEFT JOIN {schema}.lock_dead d ON d.value = q.value AND d.until_us > l_now
    WHERE w.value IS NULL OR (
      w.most > CASE WHEN k.value IS NOT NULL AND k.frees_us > l_now THEN ${ENDLESS}
        ELSE (SELECT count(*) FROM {schema}.lock_holder i WHERE i.key = w.key AND i.frees_us > l_now) END
      AND NOT EXISTS (SELECT FROM {schema}.lock_waiter b JOIN {schema}.lock_client c ON c.client = b.client
        WHERE b.key = w.key AND b.place < w.place AND b.kept_us > l_now AND ${IS_ALIVE('c', 'l_now')}));
END $$`

/**
 * For a database that only one process can use: the leases of others belong to dead processes. They end now; only a lock delay
 * continues, because their effects elsewhere may still be in progress.
 */
const ADOPT_FUNCTION = `
CREATE FUNCTION {schema}.lock_adopt(p_home text) RETURNS void LANGUAGE sql AS $$
  UPDATE {schema}.lock_key SET frees_us = least(frees_us, ${NOW} + delay_ms * 1000::bigint)
    WHERE value IS NOT NULL AND NOT starts_with(value, p_home);
  UPDATE {schema}.lock_holder SET frees_us = least(frees_us, ${NOW} + delay_ms * 1000::bigint)
    WHERE NOT starts_with(value, p_home);
  DELETE FROM {schema}.lock_waiter WHERE home <> p_home;
  DELETE FROM {schema}.lock_client WHERE NOT starts_with(client, p_home);
$$`

export const FUNCTIONS: readonly string[] = [
  FIRST_FUNCTION,
  ACQUIRE_FUNCTION,
  EXTEND_FUNCTION,
  RELEASE_FUNCTION,
  ABANDON_FUNCTION,
  BEAT_FUNCTION,
  ADOPT_FUNCTION,
]
