/** Speed-up from one process to two and four, on one server each and the same two cores. */
import { median } from '../compare.ts'
import { ascending, quantile } from '../distribution.ts'
import type { SuiteOptions } from '../main.ts'
import type { Burst, Ran } from '../serve.ts'
import { number } from '../table.ts'
import { type Target, verdict } from '../target.ts'
import { Team } from './team.ts'

/** Work that several processes do on one server. */
export interface Work {
  readonly what: string
  readonly worker: URL
  readonly args: (processes: number) => Promise<readonly string[]>
  readonly burst: Burst
  /** CPU time of the server. */
  readonly serverCpuUs: () => number | Promise<number>
  /** Target for the rate of two processes, as a share of one process' rate. */
  readonly target?: Target | undefined
}

const TEAMS = [1, 2, 4] as const
const HEAD = [
  'processes',
  'per s',
  'of one',
  'p50 ms',
  'p95 ms',
  'CPU us of the processes',
  'of the server',
  'target',
] as const

interface Turn {
  readonly perSecond: number
  readonly eachMs: readonly number[]
  readonly cpuUs: number
  readonly serverUs: number
}

export async function measureProcesses(work: Work, { rounds, report, progress }: SuiteOptions): Promise<void> {
  const rows: string[][] = []
  let one = Number.NaN
  for (const size of TEAMS) {
    progress(`${work.what}, ${size} of ${TEAMS.at(-1)} processes`)
    await using team = await Team.open(work.worker, await work.args(size), size)
    const turns: Turn[] = []
    for (let round = 0; round <= rounds; round++) turns.push(await turn(team, work))
    // The first round compiles.
    const counted = turns.slice(1)
    const of = (pick: (turn: Turn) => number): number => median(counted.map(pick))
    const perSecond = of((each) => each.perSecond)
    if (size === 1) one = perSecond
    const sorted = ascending(counted.flatMap(({ eachMs }) => eachMs))
    rows.push([
      String(size),
      number(perSecond),
      (perSecond / one).toFixed(2),
      ...[0.5, 0.95].map((q) => number(quantile(sorted, q))),
      number(of(({ cpuUs }) => cpuUs)),
      number(of(({ serverUs }) => serverUs)),
      size === 2 ? verdict(perSecond / one, work.target) : '-',
    ])
  }
  report({ title: `scale: ${work.what}`, head: HEAD, rows })
}

async function turn(team: Team, { burst, serverCpuUs }: Work): Promise<Turn> {
  const before = await serverCpuUs()
  const rans = await team.run(burst)
  const sum = (pick: (ran: Ran) => number): number => rans.reduce((all, ran) => all + pick(ran), 0)
  const total = sum((ran) => ran.total)
  return {
    perSecond: sum(({ eachMs, countedMs }) => (eachMs.length / countedMs) * 1_000),
    eachMs: rans.flatMap(({ eachMs }) => eachMs),
    cpuUs: sum(({ cpuUs }) => cpuUs) / total,
    serverUs: ((await serverCpuUs()) - before) / total,
  }
}
