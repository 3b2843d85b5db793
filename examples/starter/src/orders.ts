/** The orders service: a saga places an order, or undoes what it did. */
import { defineSaga } from 'concordat/saga'
import { createService, type Service } from 'concordat/service'
import { Order, orderConfirmed, stockCommands } from './channels.ts'
import type { Environment } from './environment.ts'

/** reserve (asks the stock service) -> confirm, from where there is no way back. */
export const placeOrder = defineSaga('place-order', { version: 1, input: Order })
  .command('reserve', { to: stockCommands, request: ({ input }) => input, compensate: true })
  .step('confirm', {
    pivot: true,
    transactional: true,
    // The message leaves if and only if the step is done.
    invoke: async ({ input, tx }) => {
      await tx.send(orderConfirmed, input)
    },
  })

export function ordersService({ parts }: Environment): Service {
  return createService({
    ...parts('orders'),
    name: 'orders',
    sagas: [placeOrder],
    sends: [orderConfirmed],
  })
}
