/**
 * `SqlClient` on PGlite: real Postgres in the process, one connection, no contention. The embedded default, and used by fast
 * tests; leases and races are tested on a server. Transactions queue behind each other.
 *
 * A query outside of a transaction waits for the end of the open transaction. Inside the transaction's callback it would wait
 * forever, so it rejects at once with `core.sql_own_transaction`: use `tx` there. Code that the callback started and that
 * continues after it, such as a timer, is no longer refused once the callback has returned.
 *
 * @module
 */
export { pgliteClient } from './pglite-client.ts'
