/** `npm start`: places three orders, prints their outcomes, and closes. */
import { openShop } from './shop.ts'

const shop = await openShop({ apple: 5, pear: 1 })
const orders = [
  { id: 'o-1', sku: 'apple', quantity: 3 },
  { id: 'o-2', sku: 'pear', quantity: 2 },
  { id: 'o-3', sku: 'apple', quantity: 2 },
]
for (const order of orders) console.log(`${order.id}: ${await shop.order(order)}`)
await shop.close()
