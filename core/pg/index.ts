/**
 * `SqlClient` and `SqlListener` on node-postgres (`pg`).
 *
 * @module
 */
export { type PgPool, pgClient, pgTransaction } from './client.ts'
export { pgListener } from './listener.ts'
export { pgPrimary } from './primary-pool.ts'
export { pgConnection, type TransactionConnection } from './transaction-as-connection.ts'
