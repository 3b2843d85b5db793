/** Services whose declarations `npx concordat topology` and `npx concordat asyncapi` read. Neither starts a service. */
import { environment } from './src/environment.ts'
import { ordersService } from './src/orders.ts'
import { stockService } from './src/stock.ts'

const at = environment()

export const services = [ordersService(at), stockService(at)]
export const asyncapi = { info: { title: 'Shop', version: '1.0.0' } }
