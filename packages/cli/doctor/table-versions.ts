/** Compares the tables of every part with those that this release needs. */
import type { SqlExecutor } from 'concordat/core'
import { shellWord } from 'concordat/extension'
import type { MigrationState } from '../engine-types.ts'
import { listed, schemasWith } from '../find-table-schemas.ts'
import type { Examined } from './check-context.ts'
import { type DoctorLine, fail, ok } from './line.ts'
import { VERSIONS_TABLE } from './other-schemas.ts'

export async function examineTables({ records, sql, schema }: Examined): Promise<readonly DoctorLine[]> {
  const states = await records.migrations()
  const there = states.filter(({ state }) => state !== 'absent')
  if (there.length === 0) {
    return [fail('tables', `no tables in schema "${schema}"`, await remedyOf(sql))]
  }
  const absent = states.filter(({ state }) => state === 'absent').map(({ part }) => part)
  const unused = absent.length === 0 ? [] : [ok('tables', `not used here: ${absent.join(', ')}`)]
  return [...there.map(lineOf), ...unused]
}

/** A wrong schema comes first: creating tables in it would hide the mistake. */
async function remedyOf(sql: SqlExecutor): Promise<string> {
  const schemas = await schemasWith(sql, VERSIONS_TABLE)
  const others = listed(
    schemas.map((name) => `npx concordat doctor --schema ${shellWord(name)}`),
    ', or ',
  )
  const apply = 'npx concordat migrate apply --reason "first release"'
  return others === '' ? apply : `${others} (or CONCORDAT_SCHEMA): they have tables. Else ${apply}`
}

function lineOf({ part, version, latest, state }: MigrationState): DoctorLine {
  switch (state) {
    case 'behind':
      return fail(
        'tables',
        `${part} is at version ${version}, this release needs ${latest}`,
        `npx concordat migrate apply --part ${part} --reason "upgrade"`,
      )
    case 'incompatible':
      return fail(
        'tables',
        `${part} is at version ${version}, this release works up to ${latest}`,
        'run the release that migrated it, or a later one',
      )
    case 'newer':
      return ok('tables', `${part} is at version ${version}; this release knows ${latest} and works with it`)
    case 'current':
    case 'absent':
      return ok('tables', `${part} is at version ${version}`)
  }
}
