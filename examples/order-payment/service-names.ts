/** Service names in start order: a service that answers comes before its callers. Imports no service code. */
export const serviceNames = ['receipts', 'stock', 'payments', 'orders'] as const
export type ServiceName = (typeof serviceNames)[number]
