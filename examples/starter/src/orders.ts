/** The orders service: a saga places an order, or undoes its steps. */
import { defineSaga } from 'concordat/saga'
import { createService, type Service } from 'concordat/service'
import { Order, orderConfirmed, stockCommands } from './channels.ts'
import type { Environment } from './environment.ts'

/** Reserves the goods at the stock service, then confirms. After the confirmation, nothing is undone. */
export const placeOrder = defineSaga('place-order', { version: 1, input: Order })
  .command('reserve', { to: stockCommands, request: ({ input }) => input, compensate: true })
  .step('confirm', {
    pivot: true,
    transactional: true,
    // The message is sent if and only if the step commits.
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
