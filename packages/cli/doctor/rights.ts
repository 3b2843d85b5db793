/** Compares the role's rights on the tables with those of `migrate grants`. */
import { DEFAULT_SCHEMA, missingRights, shellWord } from 'concordat/extension'
import type { Examined } from './check-context.ts'
import { type DoctorLine, fail, ok } from './line.ts'

export async function examineRights({ sql, schema, tables }: Examined): Promise<readonly DoctorLine[]> {
  if (tables.size === 0) return []
  const missing = await missingRights(sql, schema)
  if (missing === undefined) return [ok('rights', 'the role may use all tables')]
  const { role, lacking } = missing
  const more = lacking.length > 3 ? ` and ${lacking.length - 3} more` : ''
  const options = `--role ${shellWord(role)}${schema === DEFAULT_SCHEMA ? '' : ` --schema ${shellWord(schema)}`}`
  const remedy = `run what this prints, as the owner of the tables: npx concordat migrate grants ${options}`
  return [fail('rights', `the role "${role}" lacks ${lacking.slice(0, 3).join(', ')}${more}`, remedy)]
}
