/** State of the tables of every part. */
import { latestOf, migrationState } from '../core/migrate.ts'
import type { SqlClient } from '../core/sql.ts'
import { PARTS } from './migration-and-grant-sql.ts'

/** The tables of a part. */
export interface MigrationState {
  readonly part: string
  /** Version of its tables; 0: there are none. */
  readonly version: number
  /** Version that this release creates. */
  readonly latest: number
  /**
   * State of its tables:
   * - `current`; `newer`: created by a later release, but compatible with this one;
   * - `behind`: to be migrated; `absent`: none, normal for a part that is not used;
   * - `incompatible`: created by a later release, and incompatible with this one.
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
