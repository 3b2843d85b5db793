/**
 * `SqlClient` on PGlite: real Postgres in the process, one connection, no contention. The embedded default and the fast
 * tests; leases and races are tested on a server. Transactions queue behind each other.
 *
 * A query outside a transaction, made while one is open, waits for its end. Made inside the transaction's callback it would
 * wait forever, so it rejects at once with `core.sql_own_transaction`: use `tx` there. Code that the callback started and that goes
 * on after it, such as a timer, is refused no longer once the callback has returned.
 *
 * @module
 */
export { pgliteClient } from './pglite-client.ts'
