import { pgClient } from 'concordat/core/pg'
import pg from 'pg'
import type { SuiteOptions } from '../main.ts'
import type { PostgresBed } from '../postgres-bed.ts'
import { number } from '../table.ts'
import { verdict } from '../target.ts'
import { openOn } from './ours.ts'
import { payloads } from './sides.ts'

const MESSAGES = 10_000_000
const SHOWN_EVERY = 2_000_000
const CYCLE = 10_000
const MB = 1024 * 1024

/**
 * Measures the disk space while ten million messages pass through, with segments freed as soon as every group has
 * settled them.
 */
export async function measureDisk(bed: PostgresBed, { report, progress }: SuiteOptions): Promise<void> {
  const pool = new pg.Pool({ connectionString: await bed.database('disk'), max: 10 })
  await using side = await openOn({ sql: pgClient(pool), retentionMs: 0, segmentMs: 5_000 }, () => pool.end())
  const rows: string[][] = []
  let most = 0
  const list = payloads(CYCLE)
  const startedAt = performance.now()
  for (let done = CYCLE; done <= MESSAGES; done += CYCLE) {
    await side.publish(list)
    await side.consume(CYCLE)
    if (done % (CYCLE * 20) !== 0) continue
    const { segments, logMb, restMb } = await sizes(pool)
    most = Math.max(most, segments)
    if (done % SHOWN_EVERY !== 0) continue
    progress(`disk, ${number(done)} of ${number(MESSAGES)} messages`)
    const perSecond = done / ((performance.now() - startedAt) / 1_000)
    rows.push([number(done), number(perSecond), String(segments), String(most), number(logMb), number(restMb)])
  }
  const last = rows.at(-1) ?? []
  last.push(verdict(most, { atMost: 3 }))
  report({
    title: `postgres: the disk while ${number(MESSAGES)} messages of 200 bytes go through, published and consumed in turns`,
    head: [
      'messages',
      'messages/s',
      'segments in use',
      'most so far',
      'log MB',
      'positions and places MB',
      'target of the most',
    ],
    rows: rows.map((row) => (row === last ? row : [...row, '-'])),
  })
}

async function sizes(
  pool: pg.Pool,
): Promise<{ readonly segments: number; readonly logMb: number; readonly restMb: number }> {
  const { rows } = await pool.query<{ segments: number; log: number; rest: number }>(
    `SELECT (SELECT count(*)::int FROM concordat.transport_segment WHERE NOT is_empty) AS segments,
       (SELECT sum(pg_total_relation_size(inhrelid))::float8 FROM pg_inherits WHERE inhparent = 'concordat.transport_log'::regclass) AS log,
       (pg_total_relation_size('concordat.transport_tick') + pg_total_relation_size('concordat.transport_progress'))::float8 AS rest`,
  )
  const [{ segments, log, rest }] = rows as [{ segments: number; log: number; rest: number }]
  return { segments, logMb: log / MB, restMb: rest / MB }
}
