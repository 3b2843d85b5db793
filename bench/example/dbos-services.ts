/**
 * The same orders by DBOS in four processes like the example's: each service an application with a schema of its own.
 */
import type { SuiteOptions } from '../main.ts'
import { PeerUnavailable, providePeer } from '../peers.ts'
import type { PostgresBed } from '../postgres-bed.ts'
import { PACKAGES } from './dbos.ts'
import type { AskedService } from './dbos-app.ts'
import { runOrders } from './place-orders.ts'
import type { ExampleRun } from './run.ts'

export const DBOS_SERVICES = `DBOS ${PACKAGES['@dbos-inc/dbos-sdk']}, one process per service`

const ASKED: readonly AskedService[] = ['stock', 'payments', 'receipts']
/**
 * Connections of each of a process' two pools: with those of the clients fewer than PostgreSQL's default limit of 100.
 */
const CONNECTIONS = '10'
/** Connections of each client; the orders have one client per service. */
const CLIENT_CONNECTIONS = '5'

/** Orders in flight: the same number as in the example with a process per service. */
const AT_ONCE = 128

/** @throws PeerUnavailable */
export async function runDbosServices(bed: PostgresBed, database: string, options: SuiteOptions): Promise<ExampleRun> {
  const packages = await providePeer('dbos-example', PACKAGES, options.progress)
  return runOrders(bed, database, options, {
    worker: new URL('./dbos-orders-worker.ts', import.meta.url),
    args: [packages, CONNECTIONS, CLIENT_CONNECTIONS],
    asked: ASKED.map((service) => ({
      worker: new URL('./dbos-asked-worker.ts', import.meta.url),
      args: [packages, CONNECTIONS, service],
    })),
    atOnce: AT_ONCE,
    notReady: (cause) => new PeerUnavailable('DBOS did not get ready; its own words are above', { cause }),
  })
}
