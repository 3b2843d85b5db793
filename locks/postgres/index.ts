/**
 * Locks on PostgreSQL 14 or later, or on PGlite: nothing else to install where there is a database already.
 *
 *     const locks = postgresLocks({ sql: pgClient(pool), listener: pgListener({ connect }) })
 *     await locks.migrate()
 *
 * No session advisory locks and no transaction that stays open: a lease is a row, so a pooler in transaction mode may sit
 * in between. What is particular about them: `docs/brokers/postgres.md`.
 */
export { type PostgresLocks, postgresLocks } from './postgres-locks.ts'
