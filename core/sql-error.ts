import { type ErrorClass, type ErrorOf, errorClass } from './define-error-class.ts'
import { shellWord } from './shell-word.ts'
import { messageOf } from './thrown-values.ts'

/** The server reports replicas, and read-only roles or databases, in the same way. */
export const READ_ONLY_REMEDY =
  '. If it is a replica, connect to the primary; else set default_transaction_read_only of the role or database to off.'

/** Fields of a `SqlError`, by code. */
export interface SqlErrors {
  /**
   * Transactions cannot be prepared here (`PREPARE TRANSACTION`): the client does not support it, the server has disabled it, or
   * the transaction used something that does not outlive its connection. Nothing was done.
   */
  'core.sql_cannot_prepare': { message: string }
  /**
   * A connection did not have the statement that was prepared on it, because a pooler used another connection. Nothing was done.
   */
  'core.sql_statement_lost': object
  /**
   * The part's tables are not in this database: they were not created yet, or were created in another `schema`. `call` creates
   * the tables: `outbox.migrate()`. `part` is the argument of `npx concordat migrate apply` that creates them: a part if the
   * schema has tables of others, otherwise `all`; without it, no command is given.
   */
  'core.tables_missing': { schema: string; call: string; part?: string | undefined }
  /**
   * The role may not read the tables that it checks, or not migrate those of `part`. Nothing was changed. `lacking` lists the
   * rights that it lacks among those that `npx concordat migrate grants` prints, such as `SELECT on outbox`; the check may need
   * fewer. For a migration it lists rights such as `CREATE on schema shop`.
   */
  'core.rights_missing': { schema: string; role: string; lacking: readonly string[]; part?: string | undefined }
  /**
   * A part's tables have another version than this release needs. Nothing was changed. Older tables: apply the missing
   * migrations. Newer ones: a later release migrated them in a way that this one cannot work with. `found` is the version of the
   * tables, `known` that of this release.
   */
  'core.sql_version': { schema: string; part: string; found: number; known: number; call: string }
  /**
   * A table that was to be changed was locked by others for the whole time. Nothing was changed. The message names them;
   * `holders` lists at most five: a prepared transaction (of an XA participant, until its saga is decided) or a session.
   */
  'core.migration_blocked': { schema: string; part: string; holders: readonly string[] }
  /**
   * Tables are missing or older than this release needs, and the server is a replica or accepts no writes. Nothing was changed.
   */
  'core.read_only': { schema: string; part: string }
  /**
   * A sequence of the package's tables is behind its column, as after a cutover by logical replication. Nothing was written. The
   * message has the statement that repairs it.
   */
  'core.sequence_behind': {
    sequence: string
    table: string
    column: string
    last: string
    highest: string
    remedy: string
  }
  /** A statement was sent through a `SqlTransaction` whose callback had already settled. */
  'core.sql_transaction_ended': { reason?: string }
  /**
   * A statement would have begun or ended the transaction that was passed to a function: BEGIN, COMMIT, ROLLBACK, PREPARE
   * TRANSACTION. It was not run. Savepoints are allowed.
   */
  'core.sql_transaction_control': object
  /**
   * A statement was requested outside of the transaction that the calling code runs in, on a database with one connection
   * (PGlite, a pool with `max: 1`): each would have waited for the other to end. Nothing was run, and the transaction is still
   * open.
   */
  'core.sql_own_transaction': object
  /**
   * A connection was passed as an open transaction, but no transaction, or another one, is open on it: the statement would have
   * committed by itself, or with the work of another caller. It was not run.
   */
  'core.sql_transaction_missing': object
  /**
   * A `SqlExecutor` of the caller violates the contract: it reports another number of rows than it wrote. Thrown inside the
   * transaction, which must roll back.
   */
  'core.sql_row_count': { written: number; rowCount: unknown }
}

/** Error of a SQL client, or of the package's tables. Its fields depend on its `code`: see `SqlErrors`. */
export type SqlError<Code extends keyof SqlErrors = keyof SqlErrors> = ErrorOf<SqlErrors, Code>

/** Error of a SQL client, or of the package's tables. Its fields depend on its `code`: see `SqlErrors`. */
export const SqlError: ErrorClass<SqlErrors> = errorClass<SqlErrors>(
  'SqlError',
  {
    'core.sql_cannot_prepare': ({ message }) => message,
    'core.sql_statement_lost':
      'a prepared statement is not there, or not this one: a pooler in transaction mode is in between. Leave `preparedStatements` ' +
      'of pgClient() out, or let the pooler keep them (max_prepared_statements of PgBouncer)',
    'core.tables_missing': ({ schema, call, part }, cause) => {
      const said = cause instanceof Error ? ` (${messageOf(cause)})` : ''
      const missing = `tables are missing in schema "${schema}"`
      if (part === undefined) return `${missing}: call ${call} first, with the same schema and database${said}`
      const command = applyCommand({ schema, part: part === 'all' ? undefined : part, reason: 'first use' })
      return `${missing}: as their owner, run ${command}, start the service with migrate: 'apply', or call ${call} with the same schema and database${said}`
    },
    'core.rights_missing': (missing) => {
      const { text, remedy } = describeMissingRights(missing)
      return `${text}: ${remedy}`
    },
    'core.sql_version': ({ schema, part, found, known, call }) => {
      const remedy =
        found < known
          ? `as their owner, run ${applyCommand({ schema, reason: 'upgrade' })}, start the service with migrate: 'apply', or call ${call}`
          : 'run the release that migrated them, or a later one'
      return `the tables of "${part}" in schema "${schema}" have version ${found}, this release needs ${known}: ${remedy}`
    },
    'core.migration_blocked': ({ schema, part, holders }) => {
      const who = holders.length === 0 ? 'a session that is gone by now' : holders.join('; ')
      return `the tables of "${part}" in schema "${schema}" cannot be migrated while others hold them: ${who}. Let these end (a prepared transaction ends with its saga: npx concordat saga list), then migrate again`
    },
    'core.read_only': ({ schema, part }) =>
      `the tables of "${part}" in schema "${schema}" cannot be made, since the server is read-only${READ_ONLY_REMEDY}`,
    'core.sequence_behind': ({ sequence, table, column, last, highest, remedy }) =>
      `the sequence ${sequence} has come to ${last}, and ${table}.${column} to ${highest}: rows were copied without their sequences, as by logical replication. Stop what writes to this schema, run "${remedy}", and start again`,
    'core.sql_transaction_ended': ({ reason = 'await every query inside its callback, and keep `tx` nowhere else' }) =>
      `the transaction has ended: ${reason}`,
    'core.sql_transaction_control':
      'a statement would begin or end the transaction that it runs in (BEGIN, COMMIT, ROLLBACK, PREPARE TRANSACTION): leave it out, ' +
      'throw to roll back, and use SAVEPOINT and ROLLBACK TO SAVEPOINT for a part',
    'core.sql_own_transaction':
      'this database, or its pool, has one connection, and the transaction that this code runs in has it: use the `tx` that was ' +
      'handed in, pass `{ tx }` to calls that take it, or call after the commit; or raise the max of the pool',
    'core.sql_transaction_missing':
      'the transaction that this statement belongs to is not open on its connection: it has ended, or was not begun. Run ' +
      "`await client.query('BEGIN')` before, and await every statement before COMMIT or ROLLBACK. With `Promise.all`, the first error ends " +
      'the transaction while the other calls still run: use `Promise.allSettled`',
    'core.sql_row_count': ({ written, rowCount }) =>
      `query() told ${String(rowCount)} of ${written} written: an adapter returns how many rows an INSERT, UPDATE or DELETE touched, and the rows of a SELECT`,
  },
  ['core.sql_statement_lost', 'core.migration_blocked', 'core.read_only', 'core.rights_missing'],
)

/** Describes the missing rights, and how the owner of the tables grants them, or migrates. */
export function describeMissingRights({ schema, role, lacking, part }: SqlErrors['core.rights_missing']): {
  readonly text: string
  readonly remedy: string
} {
  if (part !== undefined) {
    return {
      text: `the tables of "${part}" in schema "${schema}" are to be made or upgraded, and the role "${role}" lacks ${lacking.join(', ')}`,
      remedy: `as the owner of the tables, run ${applyCommand({ schema, reason: 'release' })}, or give the role these rights`,
    }
  }
  const more = lacking.length > 3 ? ` and ${lacking.length - 3} more` : ''
  const command = `npx concordat migrate grants --role ${shellWord(role)} --schema ${shellWord(schema)}`
  return {
    text: `the role "${role}" lacks ${lacking.slice(0, 3).join(', ')}${more}`,
    remedy: `as the owner of the tables, run what this prints: ${command}`,
  }
}

/** Command line that creates the tables of a part, or upgrades all tables of a schema. */
function applyCommand(of: {
  readonly schema: string
  readonly part?: string | undefined
  readonly reason: string
}): string {
  const part = of.part === undefined ? '' : `--part ${of.part} `
  return `npx concordat migrate apply ${part}--schema ${shellWord(of.schema)} --reason "${of.reason}"`
}
