/** The orders service: a saga places an order, or undoes what it did. */
import type { Outbox } from 'concordat/outbox'
import { defineSaga } from 'concordat/saga'
import { createService, type Service } from 'concordat/service'
import { Order, orderConfirmed, stockCommands } from './channels.ts'
import type { Environment } from './environment.ts'

export type PlaceOrder = ReturnType<typeof placeOrderSaga>

/** reserve (asks the stock service) -> confirm, from where there is no way back. */
function placeOrderSaga(outbox: () => Outbox) {
  return defineSaga('place-order', { version: 1, input: Order })
    .command('reserve', { to: stockCommands, request: ({ input }) => input, compensate: true })
    .step('confirm', {
      pivot: true,
      transactional: true,
      // It leaves if and only if the step is done.
      invoke: async ({ input, tx }) => {
        await outbox().add(tx, orderConfirmed, input, { id: `confirmed-${input.id}` })
      },
    })
}

export interface Orders {
  readonly service: Service
  readonly placeOrder: PlaceOrder
}

export function ordersService({ parts }: Environment): Orders {
  // A service with a database has an outbox.
  const placeOrder = placeOrderSaga(() => service.outbox as Outbox)
  const service: Service = createService({
    ...parts('orders'),
    name: 'orders',
    sagas: [placeOrder],
    sends: [orderConfirmed],
  })
  return { service, placeOrder }
}
