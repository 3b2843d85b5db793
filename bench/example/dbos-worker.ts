/**
 * The orders of the example as DBOS workflows, as its documentation advises: every effect a transaction of a data
 * source, which commits with the checkpoint of the step, the bank a step of its own. One process, no channels, no
 * locks, no fence: an order writes the same rows.
 */
import { dbosApp } from './dbos-app.ts'
import { bank, type Order, serveOrders } from './serve-orders.ts'
import { charge, close, open, release, reserve } from './statements.ts'

const [folder = '', url = '', file = '', connections = ''] = process.argv.slice(2)
const { DBOS, transaction } = dbosApp({ folder, url, connections, name: 'orders' })

const placeOrder = DBOS.registerWorkflow(
  async (line: number, order: Order): Promise<string> => {
    const closed = async (status: string): Promise<string> => {
      await transaction('close', (query) => close(query, order, status))
      return status
    }
    await transaction('open', (query) => open(query, line, order))
    if (!(await transaction('reserve', (query) => reserve(query, order)))) return closed('outOfStock')
    const isApproved = await DBOS.runStep(async () => (await bank(order)) === 'approved', { name: 'bank' })
    if (isApproved && (await transaction('charge', (query) => charge(query, order)))) return closed('confirmed')
    await transaction('release', (query) => release(query, order.orderId))
    return closed('declined')
  },
  { name: 'place-order' },
)

await DBOS.launch()
serveOrders(file, (line, order) => DBOS.withNextWorkflowID(order.orderId, () => placeOrder(line, order)))
