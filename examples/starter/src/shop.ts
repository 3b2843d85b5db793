/** Both services in one process. `orders.ts` and `stock.ts` do not import each other, so each can run in its own. */
import type { SqlClient } from 'concordat/core'
import type { z } from 'zod'
import type { Order } from './channels.ts'
import { type Environment, environment } from './environment.ts'
import { ordersService, placeOrder } from './orders.ts'
import { fillShelves, stockService } from './stock.ts'

export interface Shop {
  /** Places an order, and resolves with its outcome. A second call with the same id is the same order. */
  readonly order: (order: z.input<typeof Order>) => Promise<string>
  readonly shipments: () => Promise<readonly string[]>
  readonly close: () => Promise<void>
}

export async function openShop(
  shelves: Readonly<Record<string, number>>,
  at: Environment = environment(),
): Promise<Shop> {
  const sql = at.parts('stock').sql as SqlClient
  await fillShelves(sql, shelves)
  const stock = stockService(at)
  const orders = ordersService(at)
  await stock.start()
  await orders.start()
  return {
    order: async (order) => {
      const run = await orders.run(placeOrder, { id: order.id, input: order })
      const outcome = await run.outcome()
      return outcome.status === 'completed' ? outcome.status : `${outcome.status}: ${outcome.failure.code}`
    },
    shipments: async () => {
      const { rows } = await sql.query<{ id: string }>('SELECT order_id AS id FROM shipment ORDER BY order_id')
      return rows.map(({ id }) => id)
    },
    close: async () => {
      await orders.close()
      await stock.close()
      await at.close()
    },
  }
}
