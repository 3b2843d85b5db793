/** A statement on a connection of `pg`. */

import { hasCode } from '../errors.ts'
import { type SqlResult } from '../sql.ts'
import { SqlError } from '../sql-error.ts'
import { throwFromDriver } from '../sql-unavailable.ts'
import type { StatementNames } from './statement-names.ts'

/** The part of `pg.Client` / `pg.PoolClient` that is used. */
export interface PgConnection {
  query(text: string, values?: unknown[]): Promise<PgResult>
}

export interface PgResult {
  readonly rows: unknown[]
  readonly rowCount: number | null
  readonly command?: string
}

export async function run<Row extends object>(
  connection: PgConnection,
  text: string,
  parameters?: readonly unknown[],
  names?: StatementNames,
): Promise<SqlResult<Row>> {
  const name = parameters === undefined ? undefined : names?.of(text)
  const asked =
    name === undefined
      ? connection.query(text, parameters && [...parameters])
      : runNamed(connection, { name, text, values: [...(parameters ?? [])] })
  return resultOf(await asked.catch(throwFromDriver))
}

export function resultOf<Row extends object>({ rows, rowCount }: PgResult): SqlResult<Row> {
  return { rows: rows as Row[], rowCount: rowCount ?? 0 }
}

/** The other form of `query`, which every connection of `pg` has. Not required of custom connections. */
interface NamingConnection {
  query(named: { readonly name: string; readonly text: string; readonly values: unknown[] }): Promise<PgResult>
}

/** @throws `core.sql_statement_lost` */
function runNamed(connection: PgConnection, named: Parameters<NamingConnection['query']>[0]): Promise<PgResult> {
  return (connection as unknown as NamingConnection).query(named).catch(throwLost)
}

export function throwLost(error: unknown): never {
  throw hasCode(error, '26000') || hasCode(error, '42P05') ? new SqlError('core.sql_statement_lost', {}, error) : error
}
