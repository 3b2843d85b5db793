/**
 * `SqlClient` and `SqlListener` on node-postgres (`pg`).
 *
 * @module
 */
export {
  type PgClientOptions,
  type PgConnection,
  type PgPool,
  type PgPoolConnection,
  pgClient,
  pgTransaction,
} from './client.ts'
export { pgConnection, type TransactionConnection } from './connection.ts'
export type { PgListenConnection } from './listen-connection.ts'
export { type PgListenerOptions, pgListener } from './listener.ts'
export { pgPrimary } from './primary.ts'
