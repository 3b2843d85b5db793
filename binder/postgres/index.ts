/**
 * The transport on PostgreSQL alone, and on PGlite: one append-only log of all channels, places of groups that are fence,
 * lease and acknowledgement in one, and nothing else to run.
 */
export { type PostgresTransport, postgresTransport } from './transport.ts'
