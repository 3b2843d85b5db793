import pg from 'pg'
import { median } from '../compare.ts'
import type { SuiteOptions } from '../main.ts'
import type { PostgresBed } from '../postgres-bed.ts'
import { number } from '../table.ts'
import { verdict } from '../target.ts'
import { openOurs } from './ours.ts'
import { openPgmq } from './pgmq.ts'
import { payloads, type Side } from './sides.ts'

const MESSAGES = 200_000
const CYCLE = 2_000

/** Measures publish and consume, in cycles, at the end of a transaction that holds a snapshot open. */
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
    const before = median(await cycles(side, 10))
    const foreign = new pg.Client({ connectionString: url })
    await foreign.connect()
    await foreign.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
    await foreign.query('SELECT pg_current_xact_id()')
    await cycles(side, MESSAGES / CYCLE - 10)
    const after = median(await cycles(side, 10))
    await foreign.end()
    rows.push([side.name, number(before), number(after), (after / before).toFixed(2), verdict(after / before, target)])
  }
  const title = `postgres: publish and consume ${CYCLE} at a time, a foreign snapshot open for ${MESSAGES} messages`
  report({ title, head: ['side', 'without, messages/s', 'at the end, messages/s', 'ratio', 'target'], rows })
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
