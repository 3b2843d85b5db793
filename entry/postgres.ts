/**
 * Messages, locks, one-time tokens and cluster state on PostgreSQL 14 or later, or on PGlite: nothing else to run where there is a
 * database already.
 *
 *     const locks = postgresLocks({ sql: pgClient(pool), listener: pgListener({ connect }) })
 *     await locks.migrate()
 *
 * No session advisory locks and no transaction that stays open: a lease is a row, so a pooler in transaction mode may sit in between;
 * only the listener needs a connection of its own. What is particular about each part: `docs/brokers/postgres.md` and
 * `docs/coordination/members-and-state.md`.
 *
 * @module
 */
export { type PostgresTransport, postgresTransport } from '../binder/postgres/transport.ts'
export { type PostgresStateStore, postgresStateStore } from '../election/cluster/postgres/postgres-state-store.ts'
export { type PostgresTokens, postgresTokens } from '../locks/one-time-tokens/postgres/postgres-tokens.ts'
export { type PostgresLocks, postgresLocks } from '../locks/postgres/postgres-locks.ts'
