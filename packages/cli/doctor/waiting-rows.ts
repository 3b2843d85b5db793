/** Checks rows that wait for a person, a relay or a reader. Reads a bounded number of rows. */

import { MINUTE, quoteIdentifier } from 'concordat/core'
import type { OutboxStats } from '../engine-types.ts'
import { counted, MOST_COUNTED } from '../words.ts'
import { attempt, type Examined } from './check-context.ts'
import { type DoctorLine, duration, fail, ok, orMore, warn } from './line.ts'
import { examineUndo } from './undo.ts'

/** A working relay, coordinator or reader is never so far behind. */
const LATE_MS = 1 * MINUTE
/** A message with so many failures is not late by chance. */
const OFTEN = 3

export async function examineWaitingRows(examined: Examined): Promise<readonly DoctorLine[]> {
  const { tables } = examined
  const lines: DoctorLine[] = []
  if (tables.has('saga')) lines.push(...(await attempt('sagas', () => examineSagas(examined))))
  if (tables.has('saga_undo_table')) lines.push(...(await attempt('undo', () => examineUndo(examined))))
  if (tables.has('outbox')) lines.push(...(await attempt('outbox', () => examineOutbox(examined))))
  lines.push(...(await attempt('sequences', () => examineSequences(examined))))
  return lines
}

/** Rows that logical replication copied arrive without their sequences. */
async function examineSequences({ records }: Examined): Promise<readonly DoctorLine[]> {
  const behind = await records.sequencesBehind()
  if (behind.length === 0) return [ok('sequences', 'each is past what its column holds')]
  return behind.map(({ table, column, sequence, last, highest, remedy }) =>
    fail(
      'sequences',
      `${sequence} has come to ${last}, ${table}.${column} to ${highest}`,
      `stop the services of this schema, then: ${remedy}`,
    ),
  )
}

async function examineSagas({ sql, schema }: Examined): Promise<readonly DoctorLine[]> {
  const saga = `${quoteIdentifier(schema)}.saga`
  const { rows } = await sql.query<{ stuck: number; oldest: number; late: number; latest: number }>(
    `SELECT
       (SELECT count(*)::int FROM (SELECT 1 FROM ${saga} WHERE status = 'stuck' AND ended_at IS NULL LIMIT ${MOST_COUNTED}) s) AS stuck,
       (SELECT coalesce(max(extract(epoch FROM clock_timestamp() - created_at)) * 1000, 0)::float8 FROM ${saga}
          WHERE status = 'stuck' AND ended_at IS NULL) AS oldest,
       (SELECT count(*)::int FROM (SELECT 1 FROM ${saga}
          WHERE due_at < (SELECT clock_timestamp() - interval '1 minute') LIMIT ${MOST_COUNTED}) d) AS late,
       (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(due_at)) * 1000, 0)::float8 FROM ${saga}
          WHERE due_at IS NOT NULL) AS latest`,
  )
  const { stuck = 0, oldest = 0, late = 0, latest = 0 } = rows[0] ?? {}
  return [
    stuck === 0
      ? ok('sagas', 'none is stuck')
      : warn(
          'sagas',
          `${orMore(stuck)} stuck, the oldest started ${duration(oldest)} ago`,
          'npx concordat saga list --status stuck',
        ),
    ...(late === 0
      ? []
      : [
          warn(
            'sagas',
            `${orMore(late)} wait for a coordinator, ${duration(latest)} overdue`,
            'run an instance that has their versions: npx concordat saga list --status running --older-than 1m',
          ),
        ]),
  ]
}

async function examineOutbox({ records: { outbox } }: Examined): Promise<readonly DoctorLine[]> {
  const stats = await outbox.stats()
  const { blockedKeys, parked } = stats
  const [failing] = await outbox.failing({ limit: 1 })
  return [
    parked === 0
      ? ok('parked', 'no message is parked')
      : warn(
          'parked',
          `${parked} parked; ${counted(blockedKeys, 'key is', 'keys are')} held back`,
          'npx concordat outbox list',
        ),
    ...(failing === undefined || failing.attempts < OFTEN
      ? []
      : [
          warn(
            'outbox',
            `publishing to ${failing.destination} failed ${failing.attempts} times`,
            'npx concordat outbox list',
          ),
        ]),
    waitingLine(stats),
  ]
}

const SETTLE_PARKED =
  'settle what is parked first, it holds back what has its key: npx concordat outbox list shows it; outbox retry ID sends it again, outbox drop ID gives it up'

/** Parked messages are among the pending ones, but all of them are counted. */
function waitingLine({ pending, parked, oldestAgeMs }: OutboxStats): DoctorLine {
  const age = `the oldest ${duration(oldestAgeMs)}`
  if (oldestAgeMs <= LATE_MS || (pending === parked && pending < MOST_COUNTED))
    return ok('outbox', `${orMore(pending)} pending, ${age}`)
  if (parked > 0) return warn('outbox', `${orMore(pending)} pending, ${parked} of them parked, ${age}`, SETTLE_PARKED)
  return warn(
    'outbox',
    `${orMore(pending)} pending, ${age}`,
    'start an instance of the service, whose relay sends them; if one runs, its health names the destination that is away',
  )
}
