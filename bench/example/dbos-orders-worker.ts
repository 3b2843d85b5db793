/**
 * The orders service of DBOS: its workflow calls stock and payments, which are applications of other processes, by
 * putting a workflow into their queue and awaiting its result. That is one step with an id of its own, so that a
 * repeated step finds the existing workflow. The receipt is a message without a reply: the example does not wait for it
 * either.
 */
import type { DbosClient, DbosHandle } from '../dbos-sdk.ts'
import { type AskedService, dbosApp, POLL_MS, serviceConfig } from './dbos-app.ts'
import { type Order, serveOrders } from './serve-orders.ts'
import { open, settle } from './statements.ts'

const [folder = '', connections = '', clientConnections = '', url = '', file = ''] = process.argv.slice(2)
const config = serviceConfig('orders')
const { DBOS, DBOSClient, transaction } = dbosApp({ folder, url, connections, name: 'orders', config })

const clientOf = ({ systemDatabaseSchemaName }: ReturnType<typeof serviceConfig>): Promise<DbosClient> =>
  DBOSClient.create({
    systemDatabaseUrl: url,
    systemDatabaseSchemaName,
    systemDatabasePoolSize: Number(clientConnections),
  })
const clients: Readonly<Record<AskedService, DbosClient>> = {
  stock: await clientOf(serviceConfig('stock')),
  payments: await clientOf(serviceConfig('payments')),
  receipts: await clientOf(serviceConfig('receipts')),
}

/** Does a service's work for an order. @returns whether it succeeded */
type Work = (order: Order) => Promise<boolean>

function enqueue(service: AskedService, workflowName: string, order: Order): Promise<DbosHandle<boolean>> {
  const workflowID = `${order.orderId}-${workflowName}`
  return clients[service].enqueue<Work>({ queueName: service, workflowName, workflowID }, order)
}

function ask(service: AskedService, name: string, order: Order): Promise<boolean> {
  const work = async (): Promise<boolean> => {
    const handle = await enqueue(service, name, order)
    return handle.getResult({ pollingIntervalMs: POLL_MS })
  }
  return DBOS.runStep(work, { name })
}

const placeOrder = DBOS.registerWorkflow(
  async (line: number, order: Order): Promise<string> => {
    const settled = async (status: string): Promise<string> => {
      await transaction('close', (query) => settle(query, order, status))
      return status
    }
    await transaction('open', (query) => open(query, line, order))
    if (!(await ask('stock', 'reserve', order))) return settled('outOfStock')
    if (!(await ask('payments', 'charge', order))) {
      await ask('stock', 'release', order)
      return settled('declined')
    }
    await settled('confirmed')
    await DBOS.runStep(async () => void (await enqueue('receipts', 'write', order)), { name: 'write' })
    return 'confirmed'
  },
  { name: 'place-order' },
)

await DBOS.launch()
serveOrders(file, (line, order) => DBOS.withNextWorkflowID(order.orderId, () => placeOrder(line, order)))
