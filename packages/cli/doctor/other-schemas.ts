/**
 * Names the schemas of other services, which this report leaves out, and warns of those in which something waits for a person.
 */
import { quoteIdentifier, type SqlExecutor } from 'concordat/core'
import { shellWord } from 'concordat/extension'
import { listed, schemasWith } from '../find-table-schemas.ts'
import type { Examined } from './check-context.ts'
import { type DoctorLine, ok, unknown, warn } from './line.ts'

/** Every schema with tables of Concordat has it. */
export const VERSIONS_TABLE = 'concordat_migration'
/** Largest number of schemas to check, so that the report ends in time. */
const MOST = 50

const WAITING = [
  { table: 'saga', what: 'stuck sagas', where: "status = 'stuck' AND ended_at IS NULL" },
  { table: 'outbox', what: 'parked messages', where: "next_attempt_at = 'infinity'" },
] as const

export async function examineSchemas({ sql, schema }: Examined): Promise<readonly DoctorLine[]> {
  const names = (await schemasWith(sql, VERSIONS_TABLE)).filter((name) => name !== schema)
  if (names.length === 0) return []
  const lines: DoctorLine[] = []
  for (const name of names.slice(0, MOST)) lines.push(...(await examineOther(sql, name)))
  const left = names.length - MOST
  if (left > 0)
    lines.push(
      unknown('schemas', `${left} schemas of other services were not looked at`, 'npx concordat doctor --schema NAME'),
    )
  const others = listed(names.map((name) => `--schema ${shellWord(name)}`))
  return [...lines, ok('schemas', `looked at "${schema}" only; other services have theirs: ${others}`)]
}

/** A schema that this role may not read is only named. */
async function examineOther(sql: SqlExecutor, schema: string): Promise<readonly DoctorLine[]> {
  const remedy = `npx concordat doctor --schema ${shellWord(schema)}`
  const waiting: string[] = []
  try {
    for (const { table, what, where } of WAITING) {
      const name = `${quoteIdentifier(schema)}.${table}`
      if ((await mayRead(sql, schema, name)) && (await hasRows(sql, `${name} WHERE ${where}`))) waiting.push(what)
    }
  } catch {
    return [unknown('schemas', `"${schema}" has tables that this release cannot read`, remedy)]
  }
  return waiting.length === 0 ? [] : [warn('schemas', `"${schema}" has ${waiting.join(' and ')}`, remedy)]
}

async function mayRead(sql: SqlExecutor, schema: string, table: string): Promise<boolean> {
  const { rows } = await sql.query<{ may: boolean | null }>(
    `SELECT has_table_privilege(to_regclass($2), 'SELECT') AS may WHERE has_schema_privilege($1, 'USAGE')`,
    [schema, table],
  )
  return rows[0]?.may === true
}

async function hasRows(sql: SqlExecutor, from: string): Promise<boolean> {
  const { rows } = await sql.query<{ has: boolean }>(`SELECT EXISTS (SELECT FROM ${from}) AS has`)
  return rows[0]?.has === true
}
