/**
 * Sagas in PostgreSQL. Each write is one statement over a list of sagas, state and timeline together, each guarded by its own
 * revision, so one saga or hundreds share a commit.
 */
import { type OwnQuery, quoteIdentifier, type SqlExecutor } from '../../core/sql.ts'
import type { TimelineEntry } from '../machine/event.ts'
import { nextRevisionSql } from './revision.ts'
import { COLUMNS, sagaQuery, type Track } from './saga-row-columns.ts'
import type { SagaKey, SagaMail, SagaRow, SagaSignals, SagaVersion, SagaWrite } from './store-types.ts'

export class SagaStore {
  readonly #query: OwnQuery
  readonly #saga: string
  readonly #event: string
  readonly #definition: string
  readonly #write: string

  constructor(schema: string, track?: Track) {
    const quoted = quoteIdentifier(schema)
    this.#query = sagaQuery(schema, track)
    this.#saga = `${quoted}.saga`
    this.#event = `${quoted}.saga_event`
    this.#definition = `${quoted}.saga_definition`
    this.#write = `${quoted}.saga_write`
  }

  /**
   * Applies each write that replaces the current revision; `previous` 0 inserts a saga that does not exist.
   * @returns the indexes of the applied writes
   */
  async write(sql: SqlExecutor, writes: readonly SagaWrite[]): Promise<ReadonlySet<number>> {
    const text = `SELECT n FROM ${this.#write}($1::jsonb) AS n`
    const { rows } = await this.#query<{ n: number }>(sql, text, [JSON.stringify(writes.map(toRecord))])
    return new Set(rows.map(({ n }) => n))
  }

  async load(sql: SqlExecutor, key: SagaKey): Promise<SagaRow | undefined> {
    const text = `SELECT ${COLUMNS} FROM ${this.#saga} WHERE name = $1 AND id = $2`
    return (await this.#query<SagaRow>(sql, text, [key.name, key.id])).rows[0]
  }

  async has(sql: SqlExecutor, key: SagaKey): Promise<boolean> {
    const text = `SELECT FROM ${this.#saga} WHERE name = $1 AND id = $2`
    return (await this.#query(sql, text, [key.name, key.id])).rows.length > 0
  }

  /** Loads sagas in the order of the keys; `undefined` for a missing one. */
  async loadMany(sql: SqlExecutor, keys: readonly SagaKey[]): Promise<readonly (SagaRow | undefined)[]> {
    const { rows } = await this.#query<SagaRow>(
      sql,
      `SELECT ${COLUMNS} FROM ${this.#saga} s JOIN unnest($1::text[], $2::text[]) AS k(name, id) USING (name, id)`,
      [keys.map(({ name }) => name), keys.map(({ id }) => id)],
    )
    const found = new Map(rows.map((row) => [`${row.name}/${row.id}`, row]))
    return keys.map(({ name, id }) => found.get(`${name}/${id}`))
  }

  /** Locks sagas in the same order as `saga_write`, so that writing several and posting to others cannot deadlock. */
  async lock(sql: SqlExecutor, keys: readonly SagaKey[]): Promise<void> {
    await this.#query(
      sql,
      `SELECT FROM ${this.#saga} s JOIN unnest($1::text[], $2::text[]) AS k(name, id) USING (name, id)
       ORDER BY s.name, s.id FOR UPDATE OF s`,
      [keys.map(({ name }) => name), keys.map(({ id }) => id)],
    )
  }

  /**
   * Stores mail for an instance that has the saga's version, due at once. False: no such open saga exists, or it is another one
   * (with another birth, or the step of another saga). An order to undo also finds a completed saga.
   */
  async post(sql: SqlExecutor, key: SagaKey, mail: SagaMail): Promise<boolean> {
    const of = 'undo' in mail ? mail.of : undefined
    const result = await this.#query(
      sql,
      `UPDATE ${this.#saga} SET mail = coalesce(mail, '[]'::jsonb) || $3::jsonb, revision = ${nextRevisionSql()},
           due_at = CASE WHEN owner IS NULL OR status = 'stuck' THEN clock_timestamp() ELSE due_at END,
           wait_ms = CASE WHEN owner IS NULL OR status = 'stuck' THEN 0 ELSE wait_ms END
       WHERE name = $1 AND id = $2 AND (ended_at IS NULL OR ($4 AND status = 'completed'))
         AND coalesce(birth = $5, true)
         AND ($6::jsonb IS NULL OR state->'parent' @> $6::jsonb)`,
      [
        key.name,
        key.id,
        JSON.stringify([mail]),
        'undo' in mail,
        'birth' in mail ? mail.birth : null,
        of === undefined ? null : JSON.stringify(of),
      ],
    )
    return result.rowCount === 1
  }

  /** Adds a timeline line about a refused action of an operator: one for each request, however often its mail is read. */
  async appendRefusal(sql: SqlExecutor, { name, id }: SagaKey, { kind, step, detail }: TimelineEntry): Promise<void> {
    await this.#query(
      sql,
      `INSERT INTO ${this.#event} (saga, id, kind, step, detail) SELECT $1::text, $2::text, $3::text, $4::text, $5::jsonb
       WHERE NOT EXISTS (SELECT FROM ${this.#event}
         WHERE saga = $1 AND id = $2 AND kind = $3 AND detail->>'request' = $5::jsonb->>'request')`,
      [name, id, kind, step ?? null, detail === undefined ? null : JSON.stringify(detail)],
    )
  }

  /** Ends a take without effect: deletes the saga's mail, and clears the due time of a stuck or ended saga. */
  async putToRest(sql: SqlExecutor, { name, id, revision }: SagaRow): Promise<void> {
    await this.#query(
      sql,
      `UPDATE ${this.#saga} SET mail = NULL, revision = ${nextRevisionSql()},
         owner = CASE WHEN status IN ('completed', 'compensated', 'stuck') THEN NULL ELSE owner END,
         due_at = CASE WHEN status IN ('completed', 'compensated', 'stuck') THEN NULL ELSE due_at END
       WHERE name = $1 AND id = $2 AND revision = $3`,
      [name, id, revision],
    )
  }

  /** Records that `onStuck` was called, and clears the due time unless the saga has mail. */
  async told(sql: SqlExecutor, { name, id, revision }: SagaRow): Promise<void> {
    await this.#query(
      sql,
      `UPDATE ${this.#saga} SET revision = ${nextRevisionSql()}, owner = NULL,
         due_at = CASE WHEN mail IS NULL THEN NULL ELSE clock_timestamp() END, wait_ms = 0
       WHERE name = $1 AND id = $2 AND revision = $3 AND status = 'stuck' AND owner IS NOT NULL`,
      [name, id, revision],
    )
  }

  /** Stores the graph and the signals of a version, if they are new. Returns the stored hash. */
  async register(
    sql: SqlExecutor,
    { name, version }: SagaVersion,
    graphHash: string,
    signals: SagaSignals,
  ): Promise<string> {
    await this.#query(
      sql,
      `INSERT INTO ${this.#definition} (name, version, graph_hash, signals) VALUES ($1, $2, $3, $4::jsonb)
       ON CONFLICT DO NOTHING`,
      [name, version, graphHash, JSON.stringify(signals)],
    )
    const { rows } = await this.#query<{ hash: string }>(
      sql,
      `SELECT graph_hash AS hash FROM ${this.#definition} WHERE name = $1 AND version = $2`,
      [name, version],
    )
    return rows[0]?.hash ?? graphHash
  }

  /** Tells whether a version has a step with this name that waits for a signal. */
  async hasSignal(sql: SqlExecutor, { name, version }: SagaVersion, step: string): Promise<boolean> {
    const text = `SELECT signals ? $3 AS has FROM ${this.#definition} WHERE name = $1 AND version = $2`
    const { rows } = await this.#query<{ has: boolean }>(sql, text, [name, version, step])
    return rows[0]?.has ?? true
  }
}

function toRecord({ row, previous, wakeMs, heedsDeadline, timeline }: SagaWrite, n: number): object {
  const { name, id, version, birth, state, input, revision, owner, epoch, mail, trace, home } = row
  const { graphHash: graph_hash, inputHash: input_hash, deadlineInMs: deadline_ms } = row
  const first = previous === 0 ? { version, graph_hash, input, input_hash, deadline_ms, trace, home } : undefined
  const when = wakeMs === 'as before' ? { keep_due: true } : { wake_ms: wakeMs, heed: heedsDeadline }
  return {
    n,
    name,
    id,
    birth,
    previous,
    revision,
    status: state.status,
    state,
    owner,
    epoch,
    mail,
    timeline,
    ...when,
    ...first,
  }
}
