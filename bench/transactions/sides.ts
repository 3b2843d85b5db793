/** Who makes the transfers: each kind, and the bare local transactions, in a process each. */

import pg from 'pg'
import type { PostgresBed } from '../postgres-bed.ts'
import { Worker } from '../processes.ts'
import type { Burst, Ran, SideReport } from '../serve.ts'

export type Kind = 'bare' | 'saga' | 'tcc' | 'xa' | 'undo' | 'code'
/** How a participant is asked: by the coordinator's process itself, or through a broker. `none`: nothing coordinates, remembers or takes back. */
export type Way = 'none' | 'direct' | 'message'

/** Connections of a side to each of its two databases. */
export const CONNECTIONS = 20
/** In each bank: so many that transfers seldom meet in one. */
export const ACCOUNTS = 20_000

export interface Side {
  readonly name: string
  run(burst: Burst): Promise<Ran>
}

export interface Banks {
  readonly north: string
  readonly south: string
}

/** Two databases with the accounts of a side. */
export async function banksOf(postgres: PostgresBed, name: string): Promise<Banks> {
  const [north, south] = [await postgres.database(`${name}_north`), await postgres.database(`${name}_south`)]
  for (const connectionString of [north, south]) {
    const client = new pg.Client({ connectionString })
    await client.connect()
    await client.query('CREATE TABLE account (id text PRIMARY KEY, balance int NOT NULL, free int NOT NULL)')
    await client.query(
      `INSERT INTO account SELECT 'a-' || n, 1000000, 1000000 FROM generate_series(0, ${ACCOUNTS - 1}) n`,
    )
    await client.query('VACUUM ANALYZE account')
    await client.end()
  }
  return { north, south }
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
