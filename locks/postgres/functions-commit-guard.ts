/**
 * Lease and write in one database: a guarded transaction commits only while its token is the newest of its key.
 *
 * A deferred constraint trigger makes the decisive check, as the last step before the commit: it locks the row of the key against
 * every grant, checks, and keeps the lock until the commit is done. No grant can therefore come between check and commit. Nothing
 * is locked before, so a transaction of a stopped process does not keep other holders from acquiring the lease. It finds out when
 * it commits.
 *
 * The trigger is on `lock_guard`: a row is inserted and deleted again at once, so that the event stays and the row does not.
 */
import { BY_INDEX } from '../../core/sql-function-snippets.ts'

/** The SQLSTATE of a refusal; its DETAIL is the newest token. */
export const GUARD_REFUSED = 'CC002'

const REFUSE = (token: string): string => `RAISE EXCEPTION 'lock "%": token % is not the newest', l_name, ${token}
      USING ERRCODE = '${GUARD_REFUSED}', DETAIL = coalesce((SELECT k.token FROM {schema}.lock_key k WHERE k.key = l_name), 0)::text`

/** Held exclusively under this token, or shared with others. */
const IS_HELD = (token: string): string => `EXISTS (
      SELECT FROM {schema}.lock_key k WHERE k.key = l_name AND (k.value IS NOT NULL AND k.token = ${token}
        OR k.value IS NULL AND EXISTS (SELECT FROM {schema}.lock_holder h WHERE h.key = l_name AND h.token = ${token})))`

const CHECK_FUNCTION = `
CREATE FUNCTION {schema}.lock_guard_check() RETURNS trigger LANGUAGE plpgsql ${BY_INDEX} AS $$
DECLARE
  l_name text := NEW.key;
BEGIN
  PERFORM FROM {schema}.lock_key k WHERE k.key = l_name FOR KEY SHARE;
  -- Under REPEATABLE READ the snapshot still shows a shared holder that is gone: locking its row fails with 40001 then.
  PERFORM FROM {schema}.lock_holder h WHERE h.key = l_name AND h.token = NEW.token FOR KEY SHARE;
  IF NOT ${IS_HELD('NEW.token')} THEN
    ${REFUSE('NEW.token')};
  END IF;
  RETURN NULL;
END $$`

const TRIGGER = `
CREATE CONSTRAINT TRIGGER lock_guard_at_commit AFTER INSERT ON {schema}.lock_guard
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {schema}.lock_guard_check()`

/** Checks now, without a lock, and lets the trigger check again at the commit. */
const GUARD_FUNCTION = `
CREATE FUNCTION {schema}.lock_guard_by(p_key text, p_token bigint) RETURNS void LANGUAGE plpgsql ${BY_INDEX} AS $$
DECLARE
  l_name text := p_key;
  l_row tid;
BEGIN
  IF NOT ${IS_HELD('p_token')} THEN
    ${REFUSE('p_token')};
  END IF;
  INSERT INTO {schema}.lock_guard VALUES (p_key, p_token) RETURNING ctid INTO l_row;
  DELETE FROM {schema}.lock_guard g WHERE g.ctid = l_row;
END $$`

export const GUARD_FUNCTIONS: readonly string[] = [CHECK_FUNCTION, TRIGGER, GUARD_FUNCTION]
