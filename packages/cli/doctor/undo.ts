/** Checks undo: broken protection, and rows held for long. */

import { MINUTE, quoteIdentifier } from 'concordat/core'
import { undo } from 'concordat/saga/undo'
import { counted } from '../words.ts'
import type { Examined } from './check-context.ts'
import { type DoctorLine, duration, ok, warn } from './line.ts'

/** Sagas with undo usually end sooner. */
const LONG_MS = 5 * MINUTE

export async function examineUndo({ sql, schema, tables }: Examined): Promise<readonly DoctorLine[]> {
  const listed = await undo.protected(sql, { schema })
  if (listed.length === 0) return []
  const broken = listed.flatMap(({ table, problem }) => (problem === undefined ? [] : [{ table, problem }]))
  const held = await heldLong(sql, schema, tables.has('saga'))
  const lines: DoctorLine[] = broken.map(({ table, problem }) => {
    const colon = problem.indexOf(': ')
    if (colon < 0) return warn('undo', `${table} ${problem}`, 'call undo.protect() again')
    return warn('undo', `${table} ${problem.slice(0, colon)}`, problem.slice(colon + 2))
  })
  if (broken.length === 0) lines.push(ok('undo', `protected tables: ${listed.length}`))
  return [...lines, ...held]
}

interface HeldRow {
  readonly sagas: number
  readonly oldestMs: number
  readonly name: string
  readonly ended: number
}

async function heldLong(sql: Examined['sql'], schema: string, hasSagas: boolean): Promise<readonly DoctorLine[]> {
  const home = quoteIdentifier(schema)
  // Only if the coordinator's tables are in the same schema is it known whether the saga has ended.
  const isOver = hasSagas
    ? `EXISTS (SELECT FROM ${home}.saga s WHERE s.name = u.saga AND s.id = u.saga_id AND s.ended_at IS NOT NULL)`
    : 'false'
  const { rows } = await sql.query<HeldRow>(
    `SELECT count(*)::int AS sagas, coalesce(max(extract(epoch FROM clock_timestamp() - u.created_at)) * 1000, 0)::float8 AS "oldestMs",
       coalesce((array_agg(u.saga || '/' || u.saga_id || '/' || u.step ORDER BY u.created_at))[1], '') AS name,
       count(*) FILTER (WHERE ${isOver})::int AS ended
     FROM ${home}.saga_undo u WHERE u.created_at < clock_timestamp() - $1::float8 * interval '1 ms'`,
    [LONG_MS],
  )
  const { sagas = 0, oldestMs = 0, name = '', ended = 0 } = rows[0] ?? {}
  if (sagas === 0) return []
  const over = ended === 0 ? '' : `, ${ended} of them of sagas that have ended`
  return [
    warn(
      'undo',
      `${counted(sagas, 'step holds', 'steps hold')} rows for over ${duration(LONG_MS)}${over}; the oldest, ${name}, for ${duration(oldestMs)}`,
      'act on the saga; undo.open() lists them, undo.settle() frees the rows of one that was ended by hand',
    ),
  ]
}
