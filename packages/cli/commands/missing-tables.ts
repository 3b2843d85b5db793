/**
 * Error for tables that are missing in the schema of a command: names the schemas that have them, and the command that creates
 * them.
 */
import { SqlError } from 'concordat/core'
import { shellWord } from 'concordat/extension'
import { migrationParts } from 'concordat/operator'
import { listed } from '../find-table-schemas.ts'

/** @param schemasWith schemas of the database that have a table */
export async function namingTheTables(
  error: unknown,
  schemasWith: (table: string) => Promise<readonly string[]>,
): Promise<unknown> {
  if (!(error instanceof SqlError && error.code === 'core.tables_missing')) return error
  const known = migrationParts().find(({ call }) => call === error.call)
  const schemas = known === undefined ? [] : await schemasWith(known.table).catch(() => [])
  return new Error(remedyOf(error.schema, known?.part, schemas), { cause: error })
}

/** A wrong schema comes first: creating tables in it would hide the mistake. */
function remedyOf(schema: string, part: string | undefined, schemas: readonly string[]): string {
  const apply = (reason: string): string =>
    `npx concordat migrate apply ${part === undefined ? '' : `--part ${part} `}--schema ${shellWord(schema)} --reason "${reason}"`
  if (schemas.includes(schema))
    return `tables of "${part}" in schema "${schema}" are of an older release. As their owner: ${apply('upgrade')}`
  const missing = `tables are missing in schema "${schema}"`
  if (schemas.length === 0)
    return `${missing}, and no other schema of this database has them. As their owner: ${apply('first use')}`
  const [first = ''] = schemas
  const others = listed(
    schemas.map((name) => `--schema ${shellWord(name)}`),
    ' or ',
  )
  return `${missing}; elsewhere they exist: give ${others}, or set CONCORDAT_SCHEMA=${shellWord(first)}. If they belong in "${schema}", as their owner: ${apply('first use')}`
}
