/** Sides that make the transfers: each kind, and the bare local transactions, in a process each. */

import type { PostgresBed } from '../postgres-bed.ts'
import { Worker } from '../processes.ts'
import type { Burst, Ran, SideReport } from '../serve.ts'
import { ACCOUNTS, banksOf, CONNECTIONS } from './banks.ts'

export type Kind = 'bare' | 'saga' | 'tcc' | 'xa' | 'undo' | 'code'
/**
 * Path of a call to a participant: from the coordinator's process itself, or through a broker. `none`: no coordinator,
 * no record and no rollback.
 */
export type Way = 'none' | 'direct' | 'message'

export interface Side {
  readonly name: string
  /** Name of our side that does the same, for a peer. */
  readonly rival?: string | undefined
  run(burst: Burst): Promise<Ran>
}

function nameOf(kind: Kind, way: Way): string {
  if (kind === 'bare') return 'two local transactions'
  return way === 'none' ? `${kind}, both phases by hand` : `${kind}, ${way}`
}

export async function ourSide(kind: Kind, way: Way, postgres: PostgresBed, stack: AsyncDisposableStack): Promise<Side> {
  const { north, south } = await banksOf(postgres, `${kind}_${way}`)
  const args = [kind, way, north, south, String(CONNECTIONS), String(ACCOUNTS)]
  const worker = stack.use(new Worker<SideReport>(new URL('./worker.ts', import.meta.url), args))
  await worker.report('ready')
  return {
    name: nameOf(kind, way),
    run: async (burst) => {
      worker.tell(burst)
      const { ran } = await worker.report('ran')
      if (ran === undefined) throw new Error('a worker reported that it ran, and not what')
      return ran
    },
  }
}
