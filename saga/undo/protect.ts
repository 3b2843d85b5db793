/** Protected tables: the list, and the triggers that belong to it. */
import { holdersOf, LOCK_WAIT, untilFree } from '../../core/retry-table-lock.ts'
import {
  type OwnQuery,
  ownQuery,
  quoteIdentifier,
  quoteLiteral,
  type SqlClient,
  type SqlExecutor,
  type SqlTransaction,
} from '../../core/sql.ts'
import { UndoError } from './errors.ts'
import { CANDIDATE, type Candidate, primaryColumns, problemOf } from './table-checks.ts'
import { movedRemedy, UNDO_CALL } from './table-structure.ts'
import { TRIGGER, TRUNCATE_TRIGGER } from './tables.ts'
import { textsFunction, triggerFunction, triggerFunctionName } from './trigger-functions.ts'
import { columnsSetAnew } from './trigger-set-columns.ts'
import type { ProtectedTable, ProtectTable } from './undo-types.ts'
import { columnsOf, heldKeys, keysQuery, readKeys, unheldProblem } from './unique-keys.ts'

interface Wanted extends Candidate {
  readonly oid: string
  readonly ignored: readonly string[]
  readonly hidden: readonly string[]
}

/** A row of the list, with the triggers in the catalog. */
interface Listed {
  readonly oid: string
  readonly name: string
  readonly keys: readonly (readonly string[])[]
  readonly keysQuery: string
  readonly held: number
  readonly triggers: Triggers
  readonly ignored: readonly string[]
  /** Name under which it was protected. */
  readonly protectedAs: string | null
}

/** Number of the two triggers that exist and are enabled, and of those that call the right function. */
interface Triggers {
  readonly found: number
  readonly own: number
}

export class Protection {
  readonly #query: OwnQuery
  readonly #schema: string
  readonly #home: string
  readonly #triggers: string

  constructor(schema: string) {
    this.#schema = schema
    this.#home = quoteIdentifier(schema)
    this.#query = ownQuery(schema, UNDO_CALL)
    const functionNamed = (name: string): string => `pg_catalog.to_regprocedure(${name} || '()')`
    this.#triggers = `(SELECT pg_catalog.jsonb_build_object('found', count(*), 'own', count(*) FILTER (WHERE g.tgfoid = CASE g.tgname
        WHEN '${TRIGGER}' THEN ${functionNamed(`${quoteLiteral(`${this.#home}.saga_undo_row_`)} || t.id`)}
        ELSE ${functionNamed(quoteLiteral(`${this.#home}.saga_undo_truncate`))} END))
      FROM pg_catalog.pg_trigger g WHERE g.tgrelid = t.relation AND g.tgenabled IN ('O', 'A')
        AND g.tgname IN ('${TRIGGER}', '${TRUNCATE_TRIGGER}'))`
  }

  /** Protects all of them, or none. @throws `saga.undo_table` */
  async add(sql: SqlClient, tables: readonly ProtectTable[]): Promise<void> {
    await this.#changing(
      'protect',
      sql,
      tables.map(({ table }) => table),
      async (tx) => {
        const wanted: Wanted[] = []
        for (const table of tables) wanted.push(await this.#lookUp(tx, table))
        const listed = await this.#listed(tx)
        const together = new Set([...listed, ...wanted].map(({ oid }) => oid))
        for (const each of wanted) {
          const problem = followerProblem(each, together)
          if (problem !== undefined)
            throw new UndoError('saga.undo_table', { call: 'protect', table: each.name, problem })
        }
        for (const each of wanted) await this.#install(tx, each)
        await this.#sweep(tx)
      },
    )
  }

  /** @throws `saga.undo_table` while a change of the table may still have to be undone */
  async remove(sql: SqlClient, tables: readonly string[]): Promise<void> {
    await this.#changing('unprotect', sql, tables, async (tx) => {
      for (const table of tables) {
        const { oid, name } = await this.#candidate(tx, table)
        if (oid === null) throw new UndoError('saga.undo_table', { call: 'unprotect', table, problem: NO_TABLE })
        const isListed = (await this.#listed(tx)).some((each) => each.oid === oid)
        if (!isListed) continue
        await tx.query(`LOCK TABLE ${name} IN SHARE ROW EXCLUSIVE MODE`)
        const sagas = await this.#sagasOn(tx, oid)
        if (sagas.length > 0)
          throw new UndoError('saga.undo_table', {
            call: 'unprotect',
            table: name,
            problem: `has rows that may still be undone, of ${sagas.join(', ')}: wait until these are decided`,
          })
        await dropTriggers(tx, name)
        await this.#query(tx, `DELETE FROM ${this.#home}.saga_undo_table WHERE relation = $1::oid`, [oid])
      }
      await this.#sweep(tx)
    })
  }

  async list(sql: SqlClient): Promise<readonly ProtectedTable[]> {
    return sql.transaction(async (tx) => {
      const listed = await this.#listed(tx)
      const together = new Set(listed.map(({ oid }) => oid))
      const tables: ProtectedTable[] = []
      for (const { name, keys, held, ...each } of listed) {
        const candidate = await this.#candidate(tx, name)
        const problem =
          problemOf(candidate, this.#schema) ??
          movedProblem(name, each) ??
          listedProblem(each, candidate) ??
          setterProblem(candidate, each.ignored) ??
          followerProblem(candidate, together) ??
          unheldProblem(candidate.keys)
        tables.push({ table: name, key: keys[0] ?? [], held, ...(problem !== undefined && { problem }) })
      }
      return tables
    })
  }

  /** Runs in one transaction, repeated while others hold one of the tables. */
  async #changing(
    call: 'protect' | 'unprotect',
    sql: SqlClient,
    tables: readonly string[],
    work: (tx: SqlTransaction) => Promise<void>,
  ): Promise<void> {
    const change = (): Promise<void> =>
      sql.transaction(async (tx) => {
        await tx.query(`SELECT set_config('lock_timeout', $1, true)`, [`${LOCK_WAIT.lockTimeoutMs}ms`])
        // Two processes that start at once would write the same functions.
        await this.#query(tx, `LOCK TABLE ${this.#home}.saga_undo_table IN SHARE ROW EXCLUSIVE MODE`)
        await work(tx)
      })
    await untilFree(LOCK_WAIT, change, async (cause) => {
      const holders = await holdersOf(sql, 'c.oid = ANY(SELECT to_regclass(u) FROM unnest($1::text[]) u)', [...tables])
      const who = holders.length === 0 ? 'a session that is gone by now' : holders.join('; ')
      const problem = `cannot be changed while others write to it: ${who}. Let these end, then call it again`
      return new UndoError('saga.undo_table', { call, table: tables.join(', '), problem }, cause)
    })
  }

  async #listed(sql: SqlExecutor): Promise<readonly Listed[]> {
    const { rows } = await this.#query<Listed>(
      sql,
      `SELECT t.relation::oid::text AS oid, CASE WHEN c.oid IS NULL THEN t.relation::text ELSE format('%I.%I', n.nspname, c.relname) END AS name,
         t.keys, t.keys_of AS "keysQuery", t.ignored, t.name AS "protectedAs", ${this.#triggers} AS triggers,
         (SELECT count(*)::int FROM ${this.#home}.saga_undo_lock l WHERE l.relation = t.relation) AS held
       FROM ${this.#home}.saga_undo_table t LEFT JOIN pg_catalog.pg_class c ON c.oid = t.relation
         LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
       ORDER BY 2`,
    )
    return rows
  }

  async #candidate(tx: SqlTransaction, table: string): Promise<Candidate> {
    const { rows } = await this.#query<Omit<Candidate, 'keys'>>(
      tx,
      CANDIDATE.replaceAll('{schema}', () => this.#home),
      [table],
    )
    const found = rows[0] as Omit<Candidate, 'keys'>
    return { ...found, keys: found.oid === null ? [] : await readKeys(tx, found.oid) }
  }

  async #lookUp(tx: SqlTransaction, { table, ignored = [], hidden = [] }: ProtectTable): Promise<Wanted> {
    const found = await this.#candidate(tx, table)
    const { oid, name } = found
    if (oid === null) throw new UndoError('saga.undo_table', { call: 'protect', table, problem: NO_TABLE })
    const problem =
      problemOf(found, this.#schema) ?? columnProblem(found, ignored, hidden) ?? setterProblem(found, ignored)
    if (problem !== undefined) throw new UndoError('saga.undo_table', { call: 'protect', table: name, problem })
    return { ...found, oid, ignored, hidden }
  }

  async #install(tx: SqlTransaction, wanted: Wanted): Promise<void> {
    const { oid, name, ignored, hidden } = wanted
    const keys = heldKeys(wanted.keys)
    const { rows } = await this.#query<{ id: string; triggers: Triggers }>(
      tx,
      `INSERT INTO ${this.#home}.saga_undo_table AS t (relation, keys, keys_of, ignored, hidden, name)
       VALUES ($1::oid, $2::jsonb, $3, $4, $5, $6)
       ON CONFLICT (relation) DO UPDATE SET keys = excluded.keys, keys_of = excluded.keys_of, ignored = excluded.ignored,
         hidden = excluded.hidden, name = excluded.name
       RETURNING id, ${this.#triggers} AS triggers`,
      [oid, JSON.stringify(keys.map(columnsOf)), keysQuery(keys), [...ignored], [...hidden], name],
    )
    const { id, triggers } = rows[0] as { id: string; triggers: Triggers }
    await tx.query(textsFunction(this.#home, id, wanted))
    await tx.query(triggerFunction(this.#home, id, keys))
    if (triggers.own !== 2) await createTriggers(tx, this.#home, name, id)
    await fireAlways(tx, oid, name)
  }

  /**
   * Drops functions without a table: those of a restored dump under other names, and those of dropped tables without open
   * branches.
   */
  async #sweep(tx: SqlTransaction): Promise<void> {
    await this.#query(
      tx,
      `DELETE FROM ${this.#home}.saga_undo_table t WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = t.relation)
         AND NOT EXISTS (SELECT FROM ${this.#home}.saga_undo_image i WHERE i.relation = t.relation)
         AND NOT EXISTS (SELECT FROM ${this.#home}.saga_undo_lock l WHERE l.relation = t.relation)`,
    )
    const { rows } = await this.#query<{ name: string }>(
      tx,
      `SELECT f.oid::regprocedure::text AS name FROM pg_catalog.pg_proc f
       WHERE f.pronamespace = to_regnamespace($1) AND f.proname ~ '^saga_undo_(row|texts)_' AND pg_has_role(f.proowner, 'USAGE')
         AND NOT EXISTS (SELECT FROM ${this.#home}.saga_undo_table t WHERE f.proname ~ ('^saga_undo_(row|texts)_' || t.id || '$'))
         AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_proc o ON o.oid = g.tgfoid
           WHERE o.pronamespace = f.pronamespace AND o.proname = replace(f.proname, '_texts_', '_row_'))`,
      [this.#home],
    )
    for (const { name } of rows) await tx.query(`DROP FUNCTION ${name}`)
  }

  /** Returns a few undecided sagas that have changed the table. */
  async #sagasOn(tx: SqlExecutor, oid: string): Promise<readonly string[]> {
    const { rows } = await this.#query<{ saga: string }>(
      tx,
      `SELECT DISTINCT u.saga || '/' || u.saga_id AS saga FROM ${this.#home}.saga_undo u
       WHERE EXISTS (SELECT FROM ${this.#home}.saga_undo_image i WHERE i.branch = u.branch AND i.relation = $1::oid)
          OR EXISTS (SELECT FROM ${this.#home}.saga_undo_lock l WHERE l.owner = u.owner AND l.relation = $1::oid)
       ORDER BY 1 LIMIT 3`,
      [oid],
    )
    return rows.map(({ saga }) => saga)
  }
}

const NO_TABLE = 'does not exist: name it as in SQL, with its schema if need be'

/**
 * Makes the trigger fire under every `session_replication_role`, so that a handler that changes it temporarily is noticed. Other
 * writers under `replica`, such as logical replication, pass as before. Only the owner of the table can do this.
 */
async function fireAlways(tx: SqlTransaction, oid: string, name: string): Promise<void> {
  const { rowCount } = await tx.query(
    `SELECT FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_class c ON c.oid = g.tgrelid
     WHERE c.oid = $1::oid AND g.tgname = '${TRIGGER}' AND g.tgenabled = 'O' AND pg_has_role(c.relowner, 'USAGE')`,
    [oid],
  )
  if (rowCount > 0) await tx.query(`ALTER TABLE ${name} ENABLE ALWAYS TRIGGER ${TRIGGER}`)
}

async function createTriggers(tx: SqlTransaction, home: string, name: string, id: string): Promise<void> {
  await dropTriggers(tx, name)
  await tx.query(
    `CREATE TRIGGER ${TRIGGER} AFTER INSERT OR UPDATE OR DELETE ON ${name}
     FOR EACH ROW EXECUTE FUNCTION ${triggerFunctionName(home, id)}()`,
  )
  await tx.query(
    `CREATE TRIGGER ${TRUNCATE_TRIGGER} BEFORE TRUNCATE ON ${name}
     FOR EACH STATEMENT EXECUTE FUNCTION ${home}.saga_undo_truncate()`,
  )
}

async function dropTriggers(tx: SqlTransaction, name: string): Promise<void> {
  for (const trigger of [TRIGGER, TRUNCATE_TRIGGER]) await tx.query(`DROP TRIGGER IF EXISTS ${trigger} ON ${name}`)
}

function columnProblem(found: Candidate, ignored: readonly string[], hidden: readonly string[]): string | undefined {
  const columns = (found.columns ?? []).map(({ name }) => name)
  const unknown = [...ignored, ...hidden].find((name) => !columns.includes(name))
  if (unknown !== undefined)
    return `has no column "${unknown}" that could be ignored or hidden: it has ${columns.join(', ')}`
  const inKey = ignored.find((name) => primaryColumns(found).includes(name))
  if (inKey === undefined) return undefined
  return `has "${inKey}" in its primary key, which cannot be ignored: leave it out of \`ignored\``
}

/** Changes that the database makes on its own must be recorded, too. */
function followerProblem({ follow }: Candidate, together: ReadonlySet<string>): string | undefined {
  const missing = follow?.find(({ oid }) => !together.has(oid))
  if (missing === undefined) return undefined
  return `takes rows of ${missing.name} with it (foreign key ${missing.constraint}), and that is not protected: protect both in one call, or make the foreign key NO ACTION`
}

/** If another table took its name, earlier writes of sagas are in this table, but reads go to the other one. */
function movedProblem(name: string, { protectedAs }: Pick<Listed, 'protectedAs'>): string | undefined {
  if (protectedAs === null || protectedAs === name) return undefined
  return `was ${protectedAs} when it was protected, and is renamed or moved since, so nothing of it is undone: ${movedRemedy(protectedAs, name)}`
}

/** Values that would differ from the restored ones. */
function setterProblem(found: Candidate, ignored: readonly string[]): string | undefined {
  const columns = (found.columns ?? []).map(({ name }) => name).filter((name) => !primaryColumns(found).includes(name))
  const [first, ...others] = columnsSetAnew(found.setters ?? [], columns, ignored)
  if (first === undefined) return undefined
  const names = [...new Set([first, ...others].map(({ column }) => column))]
  return (
    `has the trigger "${first.trigger}" that sets ${names.map((each) => `"${each}"`).join(', ')} anew at each update, so what is put back ` +
    `would differ: call undo.protect(sql, [{ table: ${JSON.stringify(found.name)}, ignored: ${JSON.stringify([...ignored, ...names])} }])`
  )
}

/** Changes since the table was protected. */
function listedProblem(
  { triggers, keysQuery: query }: Pick<Listed, 'triggers' | 'keysQuery'>,
  candidate: Candidate,
): string | undefined {
  if (triggers.found !== 2)
    return 'has triggers of undo that are missing or disabled: enable them, or call undo.protect() again'
  if (triggers.own !== 2)
    return 'has triggers of undo that call functions of another table or another release, as after a restored dump: call undo.protect() again'
  if (keysQuery(heldKeys(candidate.keys)) === query) return undefined
  return 'has other keys than when it was protected: call undo.protect() again while nothing of it waits'
}
