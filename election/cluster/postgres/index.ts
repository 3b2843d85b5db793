/**
 * Cluster state on PostgreSQL 14 or later, or on PGlite: members, shared state and its watches in the database that is
 * there already.
 *
 *     const store = postgresStateStore({ sql: pgClient(pool), listener: pgListener({ connect }) })
 *     await store.migrate()
 *
 * No session advisory locks and no transaction that stays open, so a pooler in transaction mode may sit in between; only
 * the listener needs a connection of its own. What is particular about it: `docs/coordination/members-and-state.md`.
 */
export { type PostgresStateStore, postgresStateStore } from './postgres-state-store.ts'
