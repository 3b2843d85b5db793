/** State of the tables of every part. */
import { latestOf, migrationState } from '../core/migrate.ts'
import type { SqlClient } from '../core/sql.ts'
import { PARTS } from './migration-and-grant-sql.ts'

/** The tables of a part. */
export interface MigrationState {
  readonly part: string
  /** 0: there are none. */
  readonly version: number
  /** The version that this release makes. */
  readonly latest: number
  /**
   * - `current`; `newer`: made by a later release, and this one works with them;
   * - `behind`: to be migrated; `absent`: none, good for a part that is not used;
   * - `incompatible`: made by a later release, with which this one does not work.
   */
  readonly state: 'current' | 'newer' | 'behind' | 'absent' | 'incompatible'
}

export async function migrationStates(sql: SqlClient, schema: string): Promise<readonly MigrationState[]> {
  const states: MigrationState[] = []
  for (const { name, migrations } of PARTS) {
    const latest = latestOf(migrations)
    const { version, needs } = await migrationState(sql, schema, name)
    states.push({ part: name, version, latest, state: stateOf(version, needs, latest) })
  }
  return states
}

function stateOf(version: number, needs: number, latest: number): MigrationState['state'] {
  if (version === 0) return 'absent'
  if (needs > latest) return 'incompatible'
  if (version === latest) return 'current'
  return version > latest ? 'newer' : 'behind'
}
