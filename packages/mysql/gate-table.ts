/**
 * The table of gates in MariaDB: one row for each saga step that was ever prepared here, written by the transaction itself.
 * Locked rows are skipped, never awaited.
 */
import { SqlError } from 'concordat/core'
import { ER, hasNumber, type MysqlConnection, rowsOf } from './driver.ts'

export const TABLE = 'concordat_xa'
/** In the comment of the table, so that a later release can recognize the version. */
const VERSION = 'concordat 1'

/**
 * DDL that `resource.migrate()` runs, for administrators who run it themselves. `gid` is the committed transaction, and
 * `decided_at` the last time its saga requested the commit.
 */
export const XA_TABLE_DDL: string = `CREATE TABLE IF NOT EXISTS ${TABLE} (
  whose varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  saga_key varchar(700) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  gid varchar(128) CHARACTER SET ascii COLLATE ascii_bin NULL,
  begun_at datetime(6) NOT NULL,
  decided_at datetime(6) NULL,
  PRIMARY KEY (whose),
  KEY begun_at (begun_at),
  KEY decided_at (decided_at)
) ENGINE=InnoDB COMMENT='${VERSION}'`

/**
 * Creates the table if it is missing. Checks first: DDL on a table that a prepared transaction has locked waits for that
 * transaction, and everybody else queues behind it.
 */
export async function migrateGates(connection: MysqlConnection): Promise<void> {
  const rows = await rowsOf(
    connection,
    'SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?',
    [TABLE],
  )
  if (rows.length === 0) await connection.query(XA_TABLE_DDL)
}

/** @throws `core.tables_missing` */
export async function requireGates(connection: MysqlConnection): Promise<void> {
  await connection
    .query(`SELECT whose, saga_key, gid, begun_at, decided_at FROM ${TABLE} LIMIT 0`)
    .catch((error: unknown) => {
      if (!hasNumber(error, ER.TABLE_MISSING) && !hasNumber(error, ER.COLUMN_MISSING)) throw error
      throw new SqlError(
        'core.tables_missing',
        { schema: '(the database of the mysql2 pool)', call: 'resource.migrate()' },
        error,
      )
    })
}

/** Inserts the row that a call will lock, with its own commit. */
export async function openGate(connection: MysqlConnection, whose: string, key: string): Promise<void> {
  const rows = await rowsOf(connection, `SELECT 1 FROM ${TABLE} WHERE whose = ?`, [whose])
  if (rows.length > 0) return
  await rowsOf(connection, `INSERT INTO ${TABLE} (whose, saga_key, begun_at) VALUES (?, ?, UTC_TIMESTAMP(6))`, [
    whose,
    key.slice(0, MOST_KEY),
  ])
}

const MOST_KEY = 700

/** Locks the row, in a READ COMMITTED transaction. @returns its content; `undefined`: another transaction holds it */
export async function lockGate(
  connection: MysqlConnection,
  whose: string,
): Promise<{ readonly gid: string | null } | undefined> {
  const [row] = await rowsOf<{ gid: string | null }>(
    connection,
    `SELECT gid FROM ${TABLE} WHERE whose = ? FOR UPDATE SKIP LOCKED`,
    [whose],
  )
  return row
}

/** Passes the gate with the transaction that will be prepared as `gid`. */
export async function passGate(connection: MysqlConnection, whose: string, gid: string): Promise<void> {
  await rowsOf(connection, `UPDATE ${TABLE} SET gid = ?, begun_at = UTC_TIMESTAMP(6) WHERE whose = ?`, [gid, whose])
}

/** True if the row is unlocked, or missing. Its absence is not locked: an insert of the row does not wait for this. */
export async function isGateFree(connection: MysqlConnection, whose: string): Promise<boolean> {
  await connection.query('SET TRANSACTION ISOLATION LEVEL READ COMMITTED')
  return (await lockGate(connection, whose)) !== undefined || (await readGate(connection, whose)) === undefined
}

/** Reads the committed row, regardless of locks and of the server's default isolation. @returns `undefined` without a row */
export async function readGate(
  connection: MysqlConnection,
  whose: string,
): Promise<{ readonly gid: string | null } | undefined> {
  await connection.query('SET TRANSACTION ISOLATION LEVEL READ COMMITTED')
  const [row] = await rowsOf<{ gid: string | null }>(connection, `SELECT gid FROM ${TABLE} WHERE whose = ?`, [whose])
  return row
}

/**
 * Records that the saga requested the commit. Only for a committed transaction: another call may have locked the row of an open
 * one.
 */
export async function noteDecision(connection: MysqlConnection, whose: string, gid: string): Promise<void> {
  if ((await readGate(connection, whose))?.gid !== gid) return
  await rowsOf(connection, `UPDATE ${TABLE} SET decided_at = UTC_TIMESTAMP(6) WHERE whose = ?`, [whose])
}

interface OldRow {
  readonly gid: string
  readonly key: string
  readonly ageMs: number
}

/** Gates of prepared transactions: read before they are committed. */
export async function preparedGates(
  connection: MysqlConnection,
  whose: readonly string[],
  olderThanMs: number,
): Promise<readonly OldRow[]> {
  await connection.query('SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED')
  const age = `TIMESTAMPDIFF(MICROSECOND, begun_at, UTC_TIMESTAMP(6)) DIV 1000`
  const rows = await rowsOf<OldRow>(
    connection,
    `SELECT gid, saga_key AS \`key\`, ${age} AS ageMs FROM ${TABLE}
     WHERE whose IN (${whose.map(() => '?').join(', ')}) AND gid IS NOT NULL AND ${age} > ? ORDER BY begun_at`,
    [...whose, olderThanMs],
  )
  return rows.map((row) => ({ ...row, ageMs: Number(row.ageMs) }))
}

const PURGE_BATCH = 500
/** Ages by which rows are purged. A transaction that an administrator committed stays until its saga requests the commit. */
const PURGED = ['decided_at', 'gid IS NULL AND begun_at'] as const

/** Deletes unlocked rows. @returns their number; if it equals the batch size, there may be more */
export async function purgeGates(
  connection: MysqlConnection,
  olderThanMs: number,
): Promise<{ readonly count: number; readonly isMore: boolean }> {
  await connection.query('SET TRANSACTION ISOLATION LEVEL READ COMMITTED')
  await connection.query('START TRANSACTION')
  const found: string[] = []
  for (const age of PURGED) {
    const rows = await rowsOf<{ whose: string }>(
      connection,
      `SELECT whose FROM ${TABLE} WHERE ${age} < UTC_TIMESTAMP(6) - INTERVAL ? SECOND
       LIMIT ${PURGE_BATCH} FOR UPDATE SKIP LOCKED`,
      [Math.ceil(olderThanMs / 1_000)],
    )
    found.push(...rows.map(({ whose }) => whose))
  }
  if (found.length > 0) {
    await rowsOf(connection, `DELETE FROM ${TABLE} WHERE whose IN (${found.map(() => '?').join(', ')})`, found)
  }
  await connection.query('COMMIT')
  return { count: found.length, isMore: found.length >= PURGE_BATCH }
}
