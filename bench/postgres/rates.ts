import { type Measured, median, rate, takeTurns } from '../compare.ts'
import type { SuiteOptions } from '../main.ts'
import { PeerUnavailable } from '../peers.ts'
import type { PostgresBed } from '../postgres-bed.ts'
import { number } from '../table.ts'
import { type Target, verdict } from '../target.ts'
import { openBare } from './bare.ts'
import { openBoss, openGraphile } from './jobs.ts'
import { openOurs } from './ours.ts'
import { openPgmq } from './pgmq.ts'
import { payloads, type Side } from './sides.ts'

const MANY = 20_000
const FEW = 2_000

const WORKS = ['publish in 1 000s', 'publish singly, 8 at once', 'consume'] as const
type Work = (typeof WORKS)[number]

/** Targets for our rate divided by the peer's. */
const TARGETS: Readonly<Record<string, Readonly<Partial<Record<Work, Target>>>>> = {
  pgmq: { 'publish in 1 000s': { atLeast: 1 }, 'publish singly, 8 at once': { atLeast: 1 }, consume: { atLeast: 1.5 } },
  'pg-boss': {
    'publish in 1 000s': { atLeast: 1.5 },
    'publish singly, 8 at once': { atLeast: 2 },
    consume: { atLeast: 3 },
  },
  'graphile-worker': { 'publish in 1 000s': { atLeast: 1.5 }, consume: { atLeast: 2 } },
}

interface Did extends Measured {
  readonly cpuUs: number
  readonly walBytes: number
}

/** Measures all sides in turns on one server, each with a database of its own; each turn consumes its own messages. */
export async function measureRates(bed: PostgresBed, { rounds, report, skip, progress }: SuiteOptions): Promise<void> {
  await using stack = new AsyncDisposableStack()
  const sides: Side[] = []
  const openers = { ours: openOurs, bare: openBare, pgmq: openPgmq, boss: openBoss, graphile: openGraphile }
  for (const [name, open] of Object.entries(openers)) {
    try {
      const url = await bed.database(`rates_${name}`)
      const side = name === 'ours' ? await openOurs(url) : await (open as typeof openBoss)(url, progress)
      sides.push(stack.use(side))
    } catch (error) {
      if (!(error instanceof PeerUnavailable)) throw error
      skip(`${name}: ${error.message}`)
    }
  }
  progress(`rates: ${sides.map(({ name }) => name).join(', ')}`)
  const turns = await takeTurns(
    sides.map((side) => () => turn(bed, side)),
    { rounds },
  )
  for (const work of WORKS) report(tableOf(work, sides, turns, rounds))
}

async function turn(bed: PostgresBed, side: Side): Promise<Readonly<Record<Work, Did>>> {
  const [many, few] = [payloads(MANY), payloads(FEW)]
  const singly = await counted(bed, () => side.singly(few))
  await side.consume(FEW)
  const published = await counted(bed, () => side.publish(many))
  const consumed = await counted(bed, () => side.consume(MANY))
  return { 'publish in 1 000s': published, 'publish singly, 8 at once': singly, consume: consumed }
}

async function counted(bed: PostgresBed, work: () => Promise<Measured>): Promise<Did> {
  const [cpu, { walBytes }] = [bed.cpuUs(), await bed.counters('postgres')]
  const measured = await work()
  const [cpuNow, now] = [bed.cpuUs(), await bed.counters('postgres')]
  return {
    ...measured,
    cpuUs: (cpuNow - cpu) / measured.units,
    walBytes: (now.walBytes - walBytes) / measured.units,
  }
}

function tableOf(
  work: Work,
  sides: readonly Side[],
  turns: readonly (readonly Readonly<Record<Work, Did>>[])[],
  rounds: number,
) {
  const medianOf = (side: number, value: (did: Did) => number): number =>
    median((turns[side] ?? []).map((one) => value(one[work])))
  const ours = medianOf(0, rate)
  const rows = sides.map(({ name }, side) => {
    const theirs = medianOf(side, rate)
    const target = Object.entries(TARGETS).find(([peer]) => name.startsWith(peer))?.[1][work]
    return [
      name,
      number(theirs),
      side === 0 ? '-' : (ours / theirs).toFixed(2),
      number(medianOf(side, ({ cpuUs }) => cpuUs)),
      number(medianOf(side, ({ walBytes }) => walBytes)),
      side === 0 ? '-' : verdict(ours / theirs, target),
    ]
  })
  const head = ['side', 'messages/s', 'concordat / it', 'CPU of PostgreSQL, us', 'WAL, bytes', 'target']
  return { title: `postgres: ${work}, per message, medians of ${rounds} rounds`, head, rows }
}
