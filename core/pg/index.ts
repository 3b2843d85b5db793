/**
 * `SqlClient` and `SqlListener` on node-postgres (`pg`).
 *
 * @module
 */
export { pgClient, pgTransaction } from './client.ts'
export { pgConnection } from './connection.ts'
export { pgListener } from './listener.ts'
export { pgPrimary } from './primary.ts'
