/** The same orders by DBOS, on a server of the same kind: who writes them carefully there, and no services between them. */
import type { SuiteOptions } from '../main.ts'
import { PeerUnavailable, providePeer } from '../peers.ts'
import type { PostgresBed } from '../postgres-bed.ts'
import { runOrders } from './place-orders.ts'
import type { ExampleRun } from './run.ts'

/** The newest pair that fits: the data sources of version 5 are not to be had for this driver. */
export const PACKAGES = { '@dbos-inc/dbos-sdk': '4.24.16', '@dbos-inc/postgres-datasource': '4.24.16' } as const
export const DBOS = `DBOS ${PACKAGES['@dbos-inc/dbos-sdk']}, one process`

/** @throws PeerUnavailable */
export async function runDbos(bed: PostgresBed, database: string, options: SuiteOptions): Promise<ExampleRun> {
  const packages = await providePeer('dbos-example', PACKAGES, options.progress)
  return runOrders(bed, database, options, {
    worker: new URL('./dbos-worker.ts', import.meta.url),
    args: [packages],
    notReady: (cause) => new PeerUnavailable('DBOS did not get ready; its own words are above', { cause }),
  })
}
