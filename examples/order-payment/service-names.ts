/** Those that answer before those that ask. Names alone, for whoever does not run a service. */
export const serviceNames = ['receipts', 'stock', 'payments', 'orders'] as const
export type ServiceName = (typeof serviceNames)[number]
