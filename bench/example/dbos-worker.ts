/**
 * The orders of the example as DBOS workflows, as its documentation advises: every effect a transaction of a data source, which
 * commits with the checkpoint of the step, the bank a step of its own. One process, no channels, no locks, no fence: what an
 * order does to the tables is the same.
 */
import type { DbosSdk } from '../dbos-sdk.ts'
import { loadPeer } from '../peers.ts'
import { bank, type Order, serveOrders } from './serve-orders.ts'
import { charge, close, open, type Query, release, reserve } from './statements.ts'

type Rows = readonly Readonly<Record<string, string>>[]

/** What is used of `@dbos-inc/postgres-datasource`. */
interface Source {
  readonly PostgresDataSource: new (
    name: string,
    options: object,
  ) => {
    readonly client: {
      unsafe(text: string, parameters: readonly unknown[]): Promise<Rows & { readonly count: number }>
    }
    runTransaction<T>(work: () => Promise<T>, config: { readonly name: string }): Promise<T>
  }
}

const [folder = '', url = '', file = '', connections = ''] = process.argv.slice(2)
const { DBOS } = loadPeer<DbosSdk>(folder, '@dbos-inc/dbos-sdk')
const { PostgresDataSource } = loadPeer<Source>(folder, '@dbos-inc/postgres-datasource')
const { hostname, port, username, password, pathname } = new URL(url)
const address = { host: hostname, port: Number(port), username, password, database: pathname.slice(1) }
const source = new PostgresDataSource('orders', { ...address, max: Number(connections), onnotice: () => {} })

const transaction = <T>(name: string, work: () => Promise<T>): Promise<T> => source.runTransaction(work, { name })
const query: Query = async (text, parameters) => {
  const rows = await source.client.unsafe(text, parameters)
  return { rows, rowCount: rows.count }
}

const placeOrder = DBOS.registerWorkflow(
  async (line: number, order: Order): Promise<string> => {
    const closed = async (status: string): Promise<string> => {
      await transaction('close', () => close(query, order, status))
      return status
    }
    await transaction('open', () => open(query, line, order))
    if (!(await transaction('reserve', () => reserve(query, order)))) return closed('outOfStock')
    const isApproved = await DBOS.runStep(async () => (await bank(order)) === 'approved', { name: 'bank' })
    if (isApproved && (await transaction('charge', () => charge(query, order)))) return closed('confirmed')
    await transaction('release', () => release(query, order.orderId))
    return closed('declined')
  },
  { name: 'place-order' },
)

DBOS.setConfig({
  name: 'orders',
  systemDatabaseUrl: url,
  systemDatabasePoolSize: Number(connections),
  logLevel: 'error',
  runAdminServer: false,
})
await DBOS.launch()
serveOrders(file, (line, order) => DBOS.withNextWorkflowID(order.orderId, () => placeOrder(line, order)))
