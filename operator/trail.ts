/** Audit for targets without their own: written before the action, and again after it. */
import { newId } from '../core/ids.ts'
import type { SqlPart } from '../core/migrate.ts'
import { ownQuery, quoteIdentifier, type SqlClient } from '../core/sql.ts'
import type { OperatorNote } from '../saga/coordinator/operator-checks.ts'
import { OperatorOutcomeNotKept } from './errors.ts'

/** Lines are never changed: the outcome is a second line with the same `request`. */
export const OPERATOR_PART: SqlPart = {
  name: 'operator',
  call: 'operator.migrate()',
  migrations: [
    {
      version: 1,
      statements: [
        `CREATE TABLE {schema}.operator_audit (
           at timestamptz NOT NULL DEFAULT clock_timestamp(),
           request uuid NOT NULL,
           part text NOT NULL,
           action text NOT NULL,
           target text NOT NULL,
           by text NOT NULL,
           reason text NOT NULL,
           outcome text
         )`,
        `CREATE INDEX operator_audit_at ON {schema}.operator_audit (at)`,
      ],
    },
  ],
}

/** An action that is about to be performed. */
export interface OperatorDeed {
  readonly part: 'letters' | 'locks' | 'leader' | 'undo' | 'bus' | 'console' | 'tables'
  readonly action: string
  readonly target: string
  readonly note: OperatorNote
}

/** Writes the audit trail `operator_audit`. An action that it cannot record is not performed. */
export interface OperatorTrail {
  /**
   * Performs the action between two lines of the trail. If the second line is missing, the outcome is unknown.
   * @param partOf returns what was done before `work` failed, which the trail adds to the code of the error
   * @throws `core.tables_missing` before anything was done; the error of `work`; OperatorOutcomeNotKept when the action was
   * performed but the second line could not be written
   */
  around<T>(
    deed: OperatorDeed,
    work: () => Promise<T>,
    outcomeOf: (result: T) => string,
    partOf?: () => string | undefined,
  ): Promise<T>
  /**
   * Checks that a line could be written, without writing: a dry run refuses whatever the real run would refuse.
   * @throws `core.tables_missing`; the driver's error for a role that may not write, or a server that accepts no writes
   */
  requireReady(): Promise<void>
  /** Writes one line, for an action without a later outcome. @throws `core.tables_missing` */
  line(deed: OperatorDeed, outcome: string): Promise<void>
}

export class SqlOperatorTrail implements OperatorTrail {
  readonly #query: ReturnType<typeof ownQuery>
  readonly #sql: SqlClient
  readonly #table: string

  constructor(sql: SqlClient, schema: string) {
    this.#sql = sql
    this.#query = ownQuery(schema, OPERATOR_PART.call)
    this.#table = `${quoteIdentifier(schema)}.operator_audit`
  }

  async around<T>(
    deed: OperatorDeed,
    work: () => Promise<T>,
    outcomeOf: (result: T) => string,
    partOf: () => string | undefined = () => undefined,
  ): Promise<T> {
    const request = newId()
    await this.#write(request, deed, null)
    const result = await this.#orFailed(request, deed, work, partOf)
    const outcome = outcomeOf(result)
    try {
      await this.#write(request, deed, outcome)
    } catch (cause) {
      throw new OperatorOutcomeNotKept(deed, { outcome, result, cause })
    }
    return result
  }

  async requireReady(): Promise<void> {
    await this.#query(
      this.#sql,
      `INSERT INTO ${this.#table} (request, part, action, target, by, reason)
       SELECT $1::uuid, '', '', '', '', '' WHERE false`,
      [newId()],
    )
  }

  async line(deed: OperatorDeed, outcome: string): Promise<void> {
    await this.#write(newId(), deed, outcome)
  }

  async #orFailed<T>(
    request: string,
    deed: OperatorDeed,
    work: () => Promise<T>,
    partOf: () => string | undefined,
  ): Promise<T> {
    try {
      return await work()
    } catch (error) {
      const { code = 'failed' } = error as { readonly code?: unknown }
      const part = partOf()
      await this.#write(request, deed, `${String(code)}${part === undefined ? '' : `: ${part}`}`).catch(() => {})
      throw error
    }
  }

  async #write(request: string, { part, action, target, note }: OperatorDeed, outcome: string | null): Promise<void> {
    await this.#query(
      this.#sql,
      `INSERT INTO ${this.#table} (request, part, action, target, by, reason, outcome)
       VALUES ($1::uuid, $2, $3, $4, $5, $6, $7)`,
      [request, part, action, target, note.by, note.reason, outcome],
    )
  }
}
