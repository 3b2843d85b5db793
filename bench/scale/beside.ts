/** Slow-down caused by stored data: by a thousand, a hundred thousand and a million entries. */
import pg from 'pg'
import { median } from '../compare.ts'
import type { SuiteOptions } from '../main.ts'
import type { PostgresBed } from '../postgres-bed.ts'
import { Worker } from '../processes.ts'
import type { Burst } from '../serve.ts'
import { number } from '../table.ts'
import { Team } from './team.ts'

const SIZES = [0, 1_000, 100_000, 1_000_000] as const
const SAGAS: Burst = { atOnce: 256, rampMs: 1_500, countedMs: 3_000, atLeast: 256 }
const PAIRS: Burst = { atOnce: 64, rampMs: 500, countedMs: 1_500, atLeast: 64 }
const HEAD = ['there already', 'per s', 'of the rate without'] as const

type Rated = (count: number) => Promise<number>

async function measureSizes(what: string, rateBeside: Rated, { report, progress }: SuiteOptions): Promise<void> {
  const rows: string[][] = []
  let first = Number.NaN
  for (const count of SIZES) {
    progress(`${what}: ${number(count)}`)
    const rate = await rateBeside(count)
    if (Number.isNaN(first)) first = rate
    rows.push([number(count), number(rate), (rate / first).toFixed(2)])
  }
  report({ title: `scale: ${what}`, head: HEAD, rows })
}

async function rateOf(team: Team, burst: Burst, rounds: number): Promise<number> {
  const rates: number[] = []
  for (let round = 0; round <= rounds; round++) {
    const rans = await team.run(burst)
    rates.push(rans.reduce((all, { eachMs, countedMs }) => all + (eachMs.length / countedMs) * 1_000, 0))
  }
  return median(rates.slice(1))
}

/** Sagas of three steps beside those that wait on a timer of an hour. */
export async function besideParked(postgres: PostgresBed, options: SuiteOptions): Promise<void> {
  const url = await postgres.database('beside')
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const rateBeside = async (count: number): Promise<number> => {
    if (count > 0) {
      await using parking = new Worker<{ readonly did: 'parked' }>(
        new URL('../saga/parked-worker.ts', import.meta.url),
        ['park', url, String(count)],
      )
      await parking.report('parked')
      await client.query('VACUUM (ANALYZE)')
    }
    await using team = await Team.open(new URL('../saga/ours-worker.ts', import.meta.url), [url, '20', '256'], 1)
    return await rateOf(team, SAGAS, options.rounds)
  }
  await measureSizes('sagas of three steps, 256 at a time, beside parked ones', rateBeside, options)
  await client.end()
}

/** Measures pairs over the given number of keys, each of which was locked before and has left its counter. */
export async function besideKeys(redisUrl: string, prefix: string, options: SuiteOptions): Promise<void> {
  const rateBeside = async (count: number): Promise<number> => {
    const args = [redisUrl, `${prefix}${count}:`, String(Math.max(count, 64)), 'filled']
    await using team = await Team.open(new URL('./locks-worker.ts', import.meta.url), args, 1)
    return await rateOf(team, PAIRS, options.rounds)
  }
  await measureSizes('pairs of acquire and release, 64 at a time, of so many keys', rateBeside, options)
}
