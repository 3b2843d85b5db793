/**
 * Tokens in PostgreSQL, whose redeeming commits together with what it is for.
 *
 * @module
 */
export { type PostgresTokens, postgresTokens } from './postgres-tokens.ts'
