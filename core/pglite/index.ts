/**
 * `SqlClient` on PGlite: real Postgres in the process, one connection, no contention. The embedded default and the fast
 * tests; leases and races are tested on a server. Transactions queue behind each other.
 *
 * A query outside a transaction, made while one is open, waits for its end: never await one inside a transaction
 * callback on the same database (use `tx`), or both wait forever.
 *
 * @module
 */
export { type PgliteDatabase, pgliteClient } from './pglite-client.ts'
