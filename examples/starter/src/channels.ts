/** Channels and message types through which the services communicate. */
import { defineChannel } from 'concordat/binder'
import { z } from 'zod'

export const Order = z.object({ id: z.string(), sku: z.string(), quantity: z.int().positive() })

export const orderConfirmed = defineChannel('orders.confirmed', {
  payload: Order.meta({ examples: [{ id: 'o-1', sku: 'apple', quantity: 3 }] }),
  key: ({ id }) => id,
  groups: ['stock'],
})

/** Commands of the order saga to the stock service: reserve the goods of an order. */
export const stockCommands = defineChannel('stock.commands', { payload: Order, groups: ['stock'] })

export const SOLD_OUT = 'stock.sold_out'
