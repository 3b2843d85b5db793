import pg from 'pg'
import { median } from '../compare.ts'
import { ascending, quantile } from '../distribution.ts'
import type { SuiteOptions } from '../main.ts'
import type { PostgresBed } from '../postgres-bed.ts'
import { number } from '../table.ts'
import { verdict } from '../target.ts'
import { openBystander } from './bystander.ts'
import { openOurs } from './ours.ts'
import { openPgmq } from './pgmq.ts'
import { payloads, type Side } from './sides.ts'

const MESSAGES = 200_000
const CYCLE = 2_000
/** Cycles that are measured, before the snapshot and at its end. */
const MEASURED = 30

/** Measures publish and consume, in cycles, at the end of a transaction that holds a snapshot open, and a small foreign transaction beside it. */
export async function measureSnapshot(bed: PostgresBed, { report, progress }: SuiteOptions): Promise<void> {
  const rows: string[][] = []
  for (const [database, open, target] of [
    ['snapshot_ours', openOurs, { atLeast: 0.9 }],
    ['snapshot_pgmq', openPgmq, undefined],
  ] as const) {
    const url = await bed.database(database)
    await using side = await open(url)
    progress(`a snapshot held open, ${side.name}`)
    await cycles(side, 10)
    await using bystander = await openBystander(url)
    const before = await bystander.beside(() => cycles(side, MEASURED))
    const foreign = new pg.Client({ connectionString: url })
    await foreign.connect()
    await foreign.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
    await foreign.query('SELECT pg_current_xact_id()')
    await cycles(side, MESSAGES / CYCLE - MEASURED)
    const after = await bystander.beside(() => cycles(side, MEASURED))
    await foreign.end()
    const ratio = median(after.result) / median(before.result)
    rows.push([
      side.name,
      number(median(before.result)),
      number(median(after.result)),
      ratio.toFixed(2),
      verdict(ratio, target),
      ...[before, after].flatMap(({ samplesMs }) => [0.5, 0.95].map((q) => number(quantile(ascending(samplesMs), q)))),
    ])
  }
  const title = `postgres: publish and consume ${CYCLE} at a time, a foreign snapshot open for ${MESSAGES} messages`
  report({
    title,
    head: [
      'side',
      'without, messages/s',
      'at the end, messages/s',
      'ratio',
      'target',
      'bystander without, p50 ms',
      'p95 ms',
      'at the end, p50 ms',
      'p95 ms',
    ],
    rows,
  })
}

/** @returns messages per second of each cycle */
async function cycles(side: Side, count: number): Promise<readonly number[]> {
  const rates: number[] = []
  const list = payloads(CYCLE)
  for (let n = 0; n < count; n++) {
    const published = await side.publish(list)
    const consumed = await side.consume(CYCLE)
    rates.push((CYCLE / (published.ms + consumed.ms)) * 1_000)
  }
  return rates
}
