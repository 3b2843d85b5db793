/** Start functions of the services by name. */
import { startOrders } from './orders/orders.ts'
import { startPayments } from './payments/payments.ts'
import { startReceipts } from './receipts/receipts.ts'
import type { StartService } from './service.ts'
import type { ServiceName } from './service-names.ts'
import { startStock } from './stock/stock.ts'

export const SERVICES = {
  receipts: startReceipts,
  stock: startStock,
  payments: startPayments,
  orders: startOrders,
} as const satisfies Readonly<Record<ServiceName, StartService>>
