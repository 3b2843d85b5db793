import { fork } from 'node:child_process'
import { once } from 'node:events'
import type { Found } from '../mistakes.ts'
import type { SimOptions } from '../sim-options.ts'
import { isPlayed } from './defect.ts'
import { DEFECTS } from './defects.ts'

const COLUMN = 18

/** Order for a child process. */
export interface Asked {
  /** `undefined`: the package without defects. */
  readonly defect: string | undefined
  readonly workload: string
  readonly from: number
  readonly count: number
}

/**
 * Plays in a process of its own, whose sources are patched while they are loaded. @returns undefined when every
 * invariant held
 */
export async function playIn(asked: Asked): Promise<Found | undefined> {
  const child = fork(new URL('child.ts', import.meta.url), {
    execArgv: ['--disable-warning=TimeoutNegativeWarning', '--conditions=concordat-source'],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const told: unknown[] = []
  child.on('message', (message) => told.push(message))
  child.send({ ...asked })
  const [code] = (await once(child, 'exit')) as [number | null]
  const [answer] = told as { readonly found?: Found }[]
  if (answer === undefined) throw new Error(`${asked.defect ?? asked.workload}: its process ended with ${code}`)
  return answer.found
}

/**
 * Each defect, until an invariant does not hold; then the workloads without any, for as many seeds.
 * @returns the exit code: 1 when a defect was not found, or a workload fails without one
 */
export async function playDefects({ from, count, defect, workloads }: SimOptions): Promise<number> {
  const most = new Map<string, number>()
  let code = 0
  for (const name of defect === undefined ? Object.keys(DEFECTS) : [defect]) {
    const played = DEFECTS[name]
    if (played !== undefined && !isPlayed(played))
      console.log(`${name.padEnd(COLUMN)}not played: it ${played.notPlayed}; ${played.test}`)
    if (played === undefined || !isPlayed(played) || !workloads.includes(played.workload)) continue
    const { workload } = played
    const found = await playIn({ defect: name, workload, from, count })
    if (found === undefined) code = 1
    most.set(workload, Math.max(most.get(workload) ?? 0, found?.seeds ?? count))
    const told = found === undefined ? `NOT FOUND in ${count} seeds` : `seed ${found.seeds}: ${found.invariant}`
    console.log(`${name.padEnd(COLUMN)}${workload.padEnd(COLUMN)} ${told}`)
  }
  for (const [workload, seeds] of most) {
    const found = await playIn({ defect: undefined, workload, from, count: seeds })
    if (found !== undefined) code = 1
    const told = found === undefined ? 'holds' : `FAILS with seed ${found.seeds}: ${found.invariant}`
    console.log(`${'none'.padEnd(COLUMN)}${workload.padEnd(COLUMN)} ${told}, ${seeds} seeds`)
  }
  return code
}
