/**
 * Functions that make settings, such as one that names the tenant of row-level security. A released savepoint keeps what a function
 * has set, and custom settings cannot be listed: so the next piece of work in a shared transaction would run with it. The text of
 * a statement does not tell which functions it calls, nor what triggers, views and policies call. The catalog tells whether there are any.
 */
import { type Clock, MINUTE } from '../clock.ts'
import type { SqlTransaction } from '../sql.ts'

/** Functions may be made while this process runs. */
const EVERY_MS = 1 * MINUTE

/** Our own set what they need and set it back, or belong to work that shares nothing. */
const OURS = '^(cluster|lock|outbox|saga|transport)_'

/**
 * How a body sets something: by `set_config`, by `SET` and `RESET` where a statement begins, also in text that is executed, and with
 * what lives until the end of the transaction: temporary tables.
 */
const SETS = [
  String.raw`\mset_config\M`,
  String.raw`\mset\s+(local|session)\s+\w`,
  String.raw`\mset\s+role\s+(?!to\M|=)\S`,
  String.raw`(^|;|\m(begin|then|else|loop)\M)\s*(set|reset)\s+\w`,
  String.raw`'(set|reset)\s+\w`,
  String.raw`\mcreate\s+((local|global)\s+)?temp(orary)?\s`,
].join('|')

/** Bodies in standard SQL are kept as a tree, where a function is a number; PostgreSQL 13 has none. */
const FIND = `SELECT EXISTS (
  SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
  WHERE p.pronamespace NOT IN (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname IN ('pg_catalog', 'information_schema'))
    AND l.lanname NOT IN ('c', 'internal')
    AND (p.prosrc ~* $1 OR p.prosrc = '' AND pg_catalog.to_jsonb(p)->>'prosqlbody' ~ (':funcid ' || 'pg_catalog.set_config'::regproc::oid || ' '))
    AND NOT (p.proname ~ $2 AND EXISTS (
      SELECT FROM pg_catalog.pg_class c WHERE c.relnamespace = p.pronamespace AND c.relname = 'concordat_migration'))
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
      WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')) AS exist`

/** Looks for them now and then. */
export class SettingFunctions {
  readonly #clock: Clock
  #nextAt = Number.NEGATIVE_INFINITY

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** False without a query when it was false less than a minute ago. Those of extensions do not count. */
  async exist(tx: SqlTransaction): Promise<boolean> {
    const now = this.#clock.monotonic()
    if (now < this.#nextAt) return false
    const { rows } = await tx.query<{ exist: boolean }>(FIND, [SETS, OURS])
    if (rows[0]?.exist !== false) return true
    this.#nextAt = now + EVERY_MS
    return false
  }
}
