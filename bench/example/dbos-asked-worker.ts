/** A service of the orders as a DBOS application of its own: runs the workflows that others put into its queue. */
import { endWithParent } from '../processes.ts'
import { type AskedService, dbosApp, POLL_MS, serviceConfig } from './dbos-app.ts'
import { bank, type Order } from './serve-orders.ts'
import { charge, release, reserve, writeReceipt } from './statements.ts'

const [folder = '', connections = '', name = '', url = ''] = process.argv.slice(2)
const service = name as AskedService
const { DBOS, transaction } = dbosApp({ folder, url, connections, name: service, config: serviceConfig(service) })

type Work = (order: Order) => Promise<unknown>

const WORKFLOWS: Readonly<Record<AskedService, Readonly<Record<string, Work>>>> = {
  stock: {
    reserve: (order) => transaction('reserve', (query) => reserve(query, order)),
    release: (order) => transaction('release', (query) => release(query, order.orderId)),
  },
  payments: {
    charge: async (order) => {
      const isApproved = await DBOS.runStep(async () => (await bank(order)) === 'approved', { name: 'bank' })
      return isApproved && transaction('charge', (query) => charge(query, order))
    },
  },
  receipts: {
    write: (order) => transaction('write', (query) => writeReceipt(query, order)),
  },
}

for (const [workflow, work] of Object.entries(WORKFLOWS[service])) DBOS.registerWorkflow(work, { name: workflow })
await DBOS.launch()
await DBOS.registerQueue(service, { minPollingIntervalMs: POLL_MS })
endWithParent()
process.send?.({ did: 'ready' })
