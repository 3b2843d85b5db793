/** Checks the server: version, role, settings, clock. */
import { hasCode, MINUTE, SECOND, type SqlClient } from 'concordat/core'
import { preparedRemedy as remedyOf } from 'concordat/operator'
import type { PreparedTransaction } from '../engine-types.ts'
import { type Examined, PREPARED_MS, withError } from './check-context.ts'
import { type DoctorLine, duration, fail, ok, warn } from './line.ts'

interface ServerRow {
  readonly version: string
  readonly number: number
  readonly role: string
  readonly database: string
  readonly replica: boolean
  readonly readonly: string
  readonly isolation: string
  readonly encoding: string
  readonly prepared: number
  readonly fsync: string
  readonly commit: string
  /** Roles whose commits here do not wait for the disk; `null` for the setting of the database. */
  readonly hasty: readonly (string | null)[] | null
  readonly now: number
}

/** Oldest release that PostgreSQL supports. The transport needs `pg_snapshot` and `xid8`, which came with 13. */
const OLDEST = 140_000
const SKEW_WARN_MS = 1 * SECOND
const SKEW_FAIL_MS = 1 * MINUTE

export async function examineServer({ records, sql, clock }: Examined): Promise<readonly DoctorLine[]> {
  const sentAt = clock.now()
  const { rows } = await sql.query<ServerRow>(
    `SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS number,
       current_user::text AS role, current_database()::text AS database, pg_is_in_recovery() AS replica,
       current_setting('default_transaction_read_only') AS readonly,
       current_setting('default_transaction_isolation') AS isolation,
       current_setting('server_encoding') AS encoding,
       current_setting('max_prepared_transactions')::int AS prepared,
       current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS commit,
       (SELECT jsonb_agg(rolname) FROM pg_db_role_setting LEFT JOIN pg_roles ON pg_roles.oid = setrole
        WHERE 'synchronous_commit=off' = ANY(setconfig)
          AND setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))) AS hasty,
       (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now`,
  )
  const tookMs = clock.now() - sentAt
  const row = rows[0] as ServerRow
  const skewMs = row.now - (sentAt + tookMs / 2)
  return [
    ok('connection', `database "${row.database}" as role "${row.role}", ${tookMs} ms`),
    versionLine(row),
    await writableLine(sql, row),
    isolationLine(row),
    ...encodingLines(row),
    ...durabilityLines(sql, row),
    ...preparedLines(row, await records.prepared(PREPARED_MS)),
    clockLine(skewMs, tookMs),
  ]
}

function versionLine({ version, number }: ServerRow): DoctorLine {
  if (number >= OLDEST) return ok('server', `PostgreSQL ${version}`)
  return fail('server', `PostgreSQL ${version} is too old`, 'upgrade to PostgreSQL 14 or later')
}

function encodingLines({ database, encoding }: ServerRow): readonly DoctorLine[] {
  if (encoding === 'UTF8') return []
  return [
    warn(
      'encoding',
      `database "${database}" has the encoding ${encoding}: messages, results and errors with a character that it lacks are refused`,
      'move to a database that was created with ENCODING UTF8',
    ),
  ]
}

/** Settings with which a crash of the server loses acknowledged commits. The embedded database never waits for the disk. */
function durabilityLines({ exclusive }: SqlClient, { fsync, commit, hasty, role, database }: ServerRow): DoctorLine[] {
  const lines: DoctorLine[] = []
  if (fsync === 'off' && exclusive === undefined)
    lines.push(
      warn('durability', 'fsync is off: a power failure can ruin the database', 'set fsync = on and restart it'),
    )
  const whose = new Set((hasty ?? []).map((name) => (name === null ? `database "${database}"` : `role "${name}"`)))
  if (commit === 'off' && whose.size === 0) whose.add(`role "${role}"`)
  if (whose.size === 0) return lines
  const text = `synchronous_commit is off for ${[...whose].join(', ')}: a crash of the server loses its latest commits, with messages and sagas`
  const remedy = 'ALTER ROLE or ALTER DATABASE ... SET synchronous_commit = on, or the same in postgresql.conf'
  return [...lines, warn('durability', text, remedy)]
}

async function writableLine(sql: SqlClient, { replica, readonly }: ServerRow): Promise<DoctorLine> {
  if (replica) return fail('writable', 'this is a read-only replica', 'connect to the primary server')
  if (readonly !== 'on') return examineDisk(sql)
  return fail(
    'writable',
    'default_transaction_read_only is on',
    'ALTER ROLE or ALTER DATABASE ... RESET default_transaction_read_only',
  )
}

const MAY_NOT = '42501'

/** Reading works on a full disk; only a file that grows shows the problem. The file is removed. */
async function examineDisk(sql: SqlClient): Promise<DoctorLine> {
  try {
    await sql.transaction((tx) =>
      tx.query(
        `CREATE TEMP TABLE concordat_doctor ON COMMIT DROP AS SELECT repeat('x', 1000) AS filler FROM generate_series(1, 64)`,
      ),
    )
    return ok('writable', 'it takes writes')
  } catch (error) {
    if (hasCode(error, MAY_NOT))
      return ok(
        'writable',
        'neither a replica nor read-only; whether its disk is full was not tried: the role lacks TEMP',
      )
    const remedy = 'make room on its disk or lift its quota: the services go on by themselves'
    return withError(fail('writable', 'it takes no writes', remedy), error)
  }
}

function isolationLine({ isolation }: ServerRow): DoctorLine {
  if (isolation === 'read committed') return ok('isolation', 'default_transaction_isolation is read committed')
  return warn(
    'isolation',
    `default_transaction_isolation is ${isolation}: statements fail with 40001 and are run again`,
    "ALTER DATABASE ... SET default_transaction_isolation = 'read committed'",
  )
}

function preparedLines({ prepared }: ServerRow, old: readonly PreparedTransaction[]): readonly DoctorLine[] {
  const note = prepared === 0 ? '0: enough unless you use PREPARE TRANSACTION yourself' : String(prepared)
  const lines = old.map((one) => {
    const text = `${one.gid} is prepared for ${duration(one.ageMs)}: it holds locks and keeps vacuum back`
    return warn('prepared', text, remedyOf(one))
  })
  return [ok('prepared', `max_prepared_transactions is ${note}`), ...lines]
}

/** The comparison cannot be more accurate than the round trip. */
function clockLine(skewMs: number, tookMs: number): DoctorLine {
  const offMs = Math.max(0, Math.abs(skewMs) - tookMs / 2)
  const text = `the server's clock is ${duration(offMs)} ${skewMs < 0 ? 'behind' : 'ahead of'} this one`
  if (offMs <= SKEW_WARN_MS) return ok('clock', text)
  const line = offMs <= SKEW_FAIL_MS ? warn : fail
  return line('clock', text, 'synchronize both machines (chrony, systemd-timesyncd)')
}
