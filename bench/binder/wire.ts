/**
 * Cost of a message's headers, id and check: from the bare driver with payload and key alone to everything that we
 * send.
 */

import { type Measured, median, rate, takeTurns } from '../compare.ts'
import { cpuUsOfTree } from '../cpu.ts'
import { newId } from '../inside.ts'
import type { SuiteOptions } from '../main.ts'
import { number } from '../table.ts'
import { verdict } from '../target.ts'
import { type BrokerSides, startedSides } from './broker.ts'
import type { Scene, Work } from './side.ts'
import { SIZES } from './workload.ts'

const STEPS = [
  { who: 'driver, payload and key', side: 'bare', work: 'publishPlain' },
  { who: 'and the bytes of the headers, in the payload', side: 'bare', work: 'publishPadded' },
  { who: 'and the headers instead, made once', side: 'bare', work: 'publishConstant' },
  { who: 'and made for each, id, time, payload checked', side: 'bare', work: 'publish' },
  { who: 'concordat', side: 'ours', work: 'publish' },
] as const satisfies readonly { who: string; side: 'bare' | 'ours'; work: Work }[]

/** Result of one turn of a step. */
export interface WireTurn extends Measured {
  readonly cpuUs: number
}

export async function measureWire(sides: BrokerSides, address: string, options: SuiteOptions): Promise<void> {
  const rows: string[][] = []
  for (const { label, bytes } of SIZES) {
    options.progress(`${sides.broker}, what a message pays, ${label}`)
    const names = { publishing: `bench-${newId()}`, reading: `bench-${newId()}` }
    rows.push(
      ...(await rowsOf(sides, { address, ...names, bytes, count: sides.countOf(bytes), keyed: true }, label, options)),
    )
  }
  const head = ['size', 'who', 'messages/s', 'of the first', 'us a message', 'CPU us of its process', 'target']
  options.report({ title: `binder: what a message pays on ${sides.broker}`, head, rows })
}

async function rowsOf(sides: BrokerSides, scene: Scene, label: string, options: SuiteOptions): Promise<string[][]> {
  await using stack = new AsyncDisposableStack()
  const { run, pids, leave } = await startedSides(sides, scene, stack)
  const turns = STEPS.map(({ side, work }) => async (): Promise<WireTurn> => {
    const before = cpuUsOfTree(pids[side])
    const measured = await run(side, work)
    return { ...measured, cpuUs: cpuUsOfTree(pids[side]) - before }
  })
  const outcomes = await takeTurns(turns, { rounds: options.rounds })
  await leave()
  return wireRows(label, outcomes, sides.ofPlain)
}

/** @param outcomes the turns of each step; the last one, ours, is held against `ofPlain` of the rate of the first */
export function wireRows(label: string, outcomes: readonly (readonly WireTurn[])[], ofPlain: number): string[][] {
  const rates = outcomes.map((of) => median(of.map(rate)))
  return STEPS.map(({ who, side }, step) => {
    const own = rates[step] ?? Number.NaN
    const ratio = own / (rates[0] ?? Number.NaN)
    const cpu = median((outcomes[step] ?? []).map(({ cpuUs, units }) => cpuUs / units))
    const held = side === 'ours' ? verdict(ratio, { atLeast: ofPlain }) : '-'
    return [label, who, number(own), ratio.toFixed(2), number(1e6 / own), number(cpu), held]
  })
}
