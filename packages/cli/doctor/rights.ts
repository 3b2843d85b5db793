/** Compares the role's rights on the tables with those of `migrate grants`. */
import { missingRights } from 'concordat/extension'
import type { Examined } from './check-context.ts'
import { type DoctorLine, fail, ok } from './line.ts'

export async function examineRights({ sql, schema, tables }: Examined): Promise<readonly DoctorLine[]> {
  if (tables.size === 0) return []
  const missing = await missingRights(sql, schema)
  return [
    missing === undefined ? ok('rights', 'the role may use all tables') : fail('rights', missing.text, missing.remedy),
  ]
}
