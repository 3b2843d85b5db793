import { counted } from '../../core/counted-noun.ts'
import type { GroupPlace } from '../transport/transport.ts'
import type { StatementRunner } from './statement-runner.ts'
import type { TransportTables } from './tables.ts'
import { failure } from './transport-errors.ts'

/** See `PostgresTransport.forgetGroup`. A member that was disconnected meanwhile finds out with its next heartbeat. */
export async function forgetGroup(
  database: StatementRunner,
  tables: TransportTables,
  { destination, group }: Pick<GroupPlace, 'destination' | 'group'>,
): Promise<boolean> {
  const { rows } = await database.query<{ members: number; gone: number }>(
    `forget the group "${group}" of "${destination}"`,
    `WITH g AS (SELECT id FROM ${tables.group} WHERE destination = $1 AND name = $2),
     members AS (
       SELECT count(*)::int AS n FROM ${tables.session} s, g WHERE g.id = ANY (s.groups) AND s.live_until > clock_timestamp()
     ),
     places AS (DELETE FROM ${tables.progress} p USING g, members WHERE p.grp = g.id AND members.n = 0),
     gone AS (DELETE FROM ${tables.group} x USING g, members WHERE x.id = g.id AND members.n = 0 RETURNING x.id)
     SELECT members.n AS members, (SELECT count(*)::int FROM gone) AS gone FROM members`,
    [destination, group],
  )
  const { members = 0, gone = 0 } = rows[0] ?? {}
  if (members === 0) return gone > 0
  const why = `the group "${group}" of "${destination}" has ${counted(members, 'member')}: stop them first`
  throw failure('refused', why, { destination })
}
