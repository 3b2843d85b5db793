/** Names the schemas of other services, which this report leaves out. */
import { schemasWith } from '../schemas.ts'
import { type DoctorLine, ok, word } from './line.ts'
import type { Examined } from './look.ts'

/** Every schema with tables of ours has it. */
export const VERSIONS_TABLE = 'concordat_migration'

export async function examineSchemas({ sql, schema }: Examined): Promise<readonly DoctorLine[]> {
  const names = (await schemasWith(sql, VERSIONS_TABLE)).filter((name) => name !== schema)
  if (names.length === 0) return []
  const others = names.map((name) => `--schema ${word(name)}`).join(', ')
  return [ok('schemas', `looked at "${schema}" only; other services have theirs: ${others}`)]
}
