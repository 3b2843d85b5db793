/** Checks whether a server can prepare, and whether any connection can end its transactions. */
import { SqlError } from 'concordat/core'
import { ER, hasNumber, type MysqlConnection, rowsOf } from './driver.ts'
import { requireGates } from './gate-table.ts'

interface ServerRow {
  readonly version: string
  readonly autocommit: number
  readonly database: string | null
  readonly format: string
  readonly isLogged: number
}

/** `SELECT ... SKIP LOCKED` exists since 10.6; prepared transactions survive their connection since 10.5. */
const OLDEST_MARIADB = [10, 6, 0]
/** The first version with `xa_detach_on_prepare`. */
const OLDEST_MYSQL = [8, 0, 29]

/** @throws `core.sql_cannot_prepare`, `core.tables_missing` with the remedy */
export async function requireXaSupport(connection: MysqlConnection): Promise<void> {
  const [row] = await rowsOf<ServerRow>(
    connection,
    `SELECT VERSION() AS version, @@autocommit AS autocommit, DATABASE() AS \`database\`,
       @@binlog_format AS format, @@log_bin AS isLogged`,
  )
  const { version, autocommit, database, format, isLogged } = row as ServerRow
  if (database === null)
    throw new SqlError('core.sql_cannot_prepare', {
      message: 'the mysql2 pool names no database: give it one, as `database` or in its uri',
    })
  if (autocommit !== 1) {
    throw new SqlError('core.sql_cannot_prepare', {
      message: 'autocommit is off in the sessions of the mysql2 pool: set autocommit = 1 there, or on the server',
    })
  }
  if (isLogged === 1 && format === 'STATEMENT') {
    throw new SqlError('core.sql_cannot_prepare', {
      message: 'binlog_format is STATEMENT, which InnoDB refuses with READ COMMITTED: set it to MIXED or ROW',
    })
  }
  await (isMariaDb(version) ? requireMariaDb : requireMySql)(connection, version)
  await requireRecover(connection)
  await requireGates(connection)
}

function isMariaDb(version: string): boolean {
  return version.toLowerCase().includes('mariadb')
}

async function requireMariaDb(connection: MysqlConnection, version: string): Promise<void> {
  if (!isAtLeast(version, OLDEST_MARIADB)) {
    throw new SqlError('core.sql_cannot_prepare', {
      message: `MariaDB ${version} is too old for XA: upgrade to MariaDB 10.6 or later`,
    })
  }
  if ((await setting(connection, 'wsrep_on')) === '1') {
    throw new SqlError('core.sql_cannot_prepare', {
      message: 'XA is not there on a Galera cluster (wsrep_on): use a server outside of it, or tccParticipant',
    })
  }
  if ((await setting(connection, 'legacy_xa_rollback_at_disconnect')) === '1') {
    throw new SqlError('core.sql_cannot_prepare', {
      message:
        'legacy_xa_rollback_at_disconnect is on: what is prepared would not outlive its connection, so switch it off',
    })
  }
}

async function requireMySql(connection: MysqlConnection, version: string): Promise<void> {
  if (!isAtLeast(version, OLDEST_MYSQL)) {
    throw new SqlError('core.sql_cannot_prepare', {
      message: `MySQL ${version} is too old for XA: upgrade to MySQL 8.0.29 or later`,
    })
  }
  if ((await setting(connection, 'xa_detach_on_prepare')) !== '1') {
    throw new SqlError('core.sql_cannot_prepare', {
      message: 'xa_detach_on_prepare is off: no other connection could commit what is prepared, so set it to ON',
    })
  }
}

/** MySQL hides the list of prepared transactions from users without the right to see it. */
async function requireRecover(connection: MysqlConnection): Promise<void> {
  try {
    await connection.query('XA RECOVER')
  } catch (error) {
    if (!hasNumber(error, ER.XAER_RMERR) && !hasNumber(error, ER.ACCESS_DENIED)) throw error
    throw new SqlError(
      'core.sql_cannot_prepare',
      {
        message:
          'the database user may not run XA RECOVER: GRANT XA_RECOVER_ADMIN ON *.* TO this user, and connect anew',
      },
      error,
    )
  }
}

/** @returns `undefined` if the server has no such variable */
async function setting(connection: MysqlConnection, name: string): Promise<string | undefined> {
  try {
    const [row] = await rowsOf<{ value: unknown }>(connection, `SELECT @@${name} AS value`)
    return String(row?.value)
  } catch (error) {
    if (hasNumber(error, ER.UNKNOWN_VARIABLE)) return undefined
    throw error
  }
}

function isAtLeast(version: string, oldest: readonly number[]): boolean {
  // MariaDB servers may prefix their version with a MySQL number: 5.5.5-10.11.6-MariaDB.
  const own = version
    .replace(/^5\.5\.5-/, '')
    .split(/[.-]/)
    .map(Number)
  const at = oldest.findIndex((part, i) => own[i] !== part)
  return at === -1 || (own[at] ?? 0) > (oldest[at] ?? 0)
}
