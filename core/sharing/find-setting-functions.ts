/**
 * Finds functions that change settings, for example one that sets the tenant of row-level security. A released savepoint keeps
 * the settings made by a function, and custom settings cannot be listed: the next piece of work in a shared transaction would run
 * with them. The text of a statement does not tell which functions it calls, nor what triggers, views and policies call. The
 * catalog tells whether there are any.
 */
import { type Clock, MINUTE } from '../clock.ts'
import type { SqlTransaction } from '../sql.ts'

/** Functions may be created while this process runs. */
const EVERY_MS = 1 * MINUTE

/** Our own functions set what they need and reset it, or belong to work that is never shared. */
const OURS = '^(cluster|lock|outbox|saga|transport)_'

/**
 * How a body changes settings: by `set_config`, or by `SET` and `RESET` at the start of a statement, also in executed text; and
 * objects that live until the end of the transaction: temporary tables.
 */
const SETS = [
  String.raw`\mset_config\M`,
  String.raw`\mset\s+(local|session)\s+\w`,
  String.raw`\mset\s+role\s+(?!to\M|=)\S`,
  String.raw`(^|;|\m(begin|then|else|loop)\M)\s*(set|reset)\s+\w`,
  String.raw`'(set|reset)\s+\w`,
  String.raw`\mcreate\s+((local|global)\s+)?temp(orary)?\s`,
].join('|')

/** Bodies in standard SQL are stored as a tree, in which a function is a number; PostgreSQL 13 has none. */
const FIND = `SELECT EXISTS (
  SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
  WHERE p.pronamespace NOT IN (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname IN ('pg_catalog', 'information_schema'))
    AND l.lanname NOT IN ('c', 'internal')
    AND (p.prosrc ~* $1 OR p.prosrc = '' AND pg_catalog.to_jsonb(p)->>'prosqlbody' ~ (':funcid ' || 'pg_catalog.set_config'::regproc::oid || ' '))
    AND NOT (p.proname ~ $2 AND EXISTS (
      SELECT FROM pg_catalog.pg_class c WHERE c.relnamespace = p.pronamespace AND c.relname = 'concordat_migration'))
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
      WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')) AS exist`

/** Checks for them from time to time. */
export class SettingFunctions {
  readonly #clock: Clock
  #nextAt = Number.NEGATIVE_INFINITY

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** False without a query if it was false less than a minute ago. Functions of extensions do not count. */
  async exist(tx: SqlTransaction): Promise<boolean> {
    const now = this.#clock.monotonic()
    if (now < this.#nextAt) return false
    const { rows } = await tx.query<{ exist: boolean }>(FIND, [SETS, OURS])
    if (rows[0]?.exist !== false) return true
    this.#nextAt = now + EVERY_MS
    return false
  }
}
