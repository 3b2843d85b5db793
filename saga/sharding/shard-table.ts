/**
 * A database's record as a shard: its name and the layouts. One row, in `saga_shard`.
 *
 * The database itself refuses a saga that is started for another shard, or under an outdated layout: a trigger compares the
 * starter's mark (`saga.home`) with the row. Starts share an advisory lock until their transaction ends, a change of the row
 * locks it exclusively: once the row has a new layout, no saga started under the old one can appear.
 */
import { causesOf, hasCode } from '../../core/errors.ts'
import { migrate, requireMigrated, type SqlPart } from '../../core/migrate.ts'
import { quoteIdentifier, type SqlClient, type SqlExecutor, type SqlTransaction } from '../../core/sql.ts'
import { SAGA_PART } from '../store/tables.ts'
import { ShardingError } from './errors.ts'
import { isFollowedBy, type Layouts } from './layout.ts'

/** SQLSTATE of a refused start. */
const REFUSED = 'CC003'
/** How long a change waits for transactions that start sagas. */
const LOCK_WAIT_MS = 5_000

export const SHARD_PART: SqlPart = {
  name: 'saga-shards',
  call: 'migrate() of the sharded coordinator',
  migrations: [
    {
      version: 1,
      statements: [
        `CREATE TABLE {schema}.saga_shard (
           one boolean PRIMARY KEY DEFAULT true CHECK (one),
           name text NOT NULL,
           layouts jsonb NOT NULL,
           changed_at timestamptz NOT NULL DEFAULT clock_timestamp())`,
        `CREATE FUNCTION {schema}.saga_home() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  shard record;
  here text;
BEGIN
  -- The step of a saga that is here.
  IF NEW.state ? 'parent' THEN RETURN NULL; END IF;
  PERFORM pg_advisory_xact_lock_shared(hashtextextended('concordat:shards:' || TG_TABLE_SCHEMA, 0));
  IF current_setting('transaction_isolation') = 'read committed' THEN
    SELECT * INTO shard FROM {schema}.saga_shard;
  ELSE
    -- Its snapshot may be older than the row: then this fails with 40001.
    SELECT * INTO shard FROM {schema}.saga_shard FOR SHARE;
  END IF;
  IF NOT FOUND THEN
    IF NEW.home IS NULL THEN RETURN NULL; END IF;
    here := 'no shard';
  ELSE
    here := shard.name || '@' || jsonb_array_length(shard.layouts);
    IF NEW.home = here THEN RETURN NULL; END IF;
    -- The only shard there ever was: a coordinator without shards finds every saga here, too.
    IF NEW.home IS NULL AND shard.layouts = jsonb_build_array(jsonb_build_array(shard.name)) THEN RETURN NULL; END IF;
  END IF;
  RAISE EXCEPTION 'concordat: saga %/% was started for %, and this database is %', NEW.name, NEW.id,
    coalesce(NEW.home, 'a database without shards'), here USING ERRCODE = '${REFUSED}';
END $$`,
        `CREATE TRIGGER saga_home AFTER INSERT ON {schema}.saga FOR EACH ROW EXECUTE FUNCTION {schema}.saga_home()`,
      ],
    },
  ],
}

/** A database's record as a shard. */
export interface ShardRow {
  readonly name: string
  readonly layouts: Layouts
}

/** Returns the mark of a saga at its start. */
export function markOf(name: string, layouts: Layouts): string {
  return `${name}@${layouts.length}`
}

/** Converts the error of a refused start; returns other errors unchanged. */
export function explainRefusal(error: unknown): unknown {
  const refusal = causesOf(error).find((cause) => hasCode(cause, REFUSED))
  return refusal instanceof Error ? new ShardingError('saga.shards_changed', { what: refusal.message }, error) : error
}

export class ShardTable {
  readonly name: string
  readonly sql: SqlClient
  readonly #schema: string
  readonly #quoted: string

  constructor(name: string, { sql, schema }: { readonly sql: SqlClient; readonly schema: string }) {
    this.name = name
    this.sql = sql
    this.#schema = schema
    this.#quoted = quoteIdentifier(schema)
  }

  /** Creates the table, after the tables of the sagas. */
  async migrate(): Promise<void> {
    await requireMigrated(this.sql, this.#schema, SAGA_PART)
    await migrate(this.sql, this.#schema, SHARD_PART.name, SHARD_PART.migrations)
  }

  /** Returns `undefined` when the database has no record yet. @throws `core.tables_missing`, `core.sql_version` */
  async read(): Promise<ShardRow | undefined> {
    await requireMigrated(this.sql, this.#schema, SHARD_PART)
    return this.#row(this.sql)
  }

  /** Same in a transaction of the caller, whose database may not be a shard: `undefined` in this case, too. */
  async readIn(tx: SqlTransaction): Promise<ShardRow | undefined> {
    const table = `${this.#quoted}.saga_shard`
    const { rows } = await tx.query<{ there: boolean }>('SELECT to_regclass($1) IS NOT NULL AS there', [table])
    return rows[0]?.there === true ? this.#row(tx) : undefined
  }

  async hasSagas(sql: SqlExecutor = this.sql): Promise<boolean> {
    const { rows } = await sql.query(`SELECT FROM ${this.#quoted}.saga LIMIT 1`)
    return rows.length > 0
  }

  /**
   * Records for the first time which shard a database is; does nothing if there is a record.
   * @param options `empty`: refuse a database with sagas, because no earlier layout says that sagas are there
   * @throws `saga.shards_mismatch`
   */
  async begin(layouts: Layouts, { empty }: { readonly empty: boolean }): Promise<void> {
    await this.sql.transaction(async (tx) => {
      await limitWait(tx)
      // Starts without shards have ended, and later ones meet the trigger's check of the row.
      await tx.query(`LOCK TABLE ${this.#quoted}.saga IN SHARE ROW EXCLUSIVE MODE`)
      if ((await this.#row(tx)) !== undefined) return
      if (empty && (await this.hasSagas(tx))) {
        throw new ShardingError('saga.shards_mismatch', {
          message: `the database of shard "${this.name}" has sagas that were started without shards: use an empty one, or another \`schema\``,
        })
      }
      await tx.query(`INSERT INTO ${this.#quoted}.saga_shard (name, layouts) VALUES ($1, $2::jsonb)`, [
        this.name,
        JSON.stringify(layouts),
      ])
    })
  }

  /**
   * Adds the layouts that followed those of the database. Resolves when no start under an earlier layout can commit.
   * @param from exact layouts that it must have before. @default any prefix of `layouts`
   * @returns its layouts: longer or different ones if another process was faster
   */
  async extend(layouts: Layouts, from?: Layouts): Promise<Layouts> {
    return this.sql.transaction(async (tx) => {
      await limitWait(tx)
      await tx.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [`concordat:shards:${this.#schema}`])
      const known = (await this.#row(tx))?.layouts
      if (known === undefined)
        throw new ShardingError('saga.shards_mismatch', {
          message: `shard "${this.name}" was not told that it is one: migrate()`,
        })
      const fits = from === undefined || JSON.stringify(known) === JSON.stringify(from)
      if (known.length >= layouts.length || !isFollowedBy(known, layouts) || !fits) return known
      await tx.query(`UPDATE ${this.#quoted}.saga_shard SET layouts = $1::jsonb, changed_at = clock_timestamp()`, [
        JSON.stringify(layouts),
      ])
      return layouts
    })
  }

  async #row(sql: SqlExecutor): Promise<ShardRow | undefined> {
    return (await sql.query<ShardRow>(`SELECT name, layouts FROM ${this.#quoted}.saga_shard`)).rows[0]
  }
}

async function limitWait(tx: SqlTransaction): Promise<void> {
  await tx.query(`SELECT set_config('lock_timeout', $1, true)`, [`${LOCK_WAIT_MS}ms`])
}
