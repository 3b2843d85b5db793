/** All that the services say to each other: the only file they share. */
import { defineChannel } from 'concordat/binder'
import { z } from 'zod'

export const Order = z.object({ id: z.string(), sku: z.string(), quantity: z.int().positive() })

export const orderConfirmed = defineChannel('orders.confirmed', {
  payload: Order.meta({ examples: [{ id: 'o-1', sku: 'apple', quantity: 3 }] }),
  key: ({ id }) => id,
  groups: ['stock'],
})

/** The saga of an order asks the stock service for its goods. */
export const stockCommands = defineChannel('stock.commands', { payload: Order, groups: ['stock'] })

export const SOLD_OUT = 'stock.sold_out'
