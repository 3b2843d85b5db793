/** Names of `core/` that only tests write: no subpath exports them. */
// oxlint-disable no-restricted-imports -- users need not write these names, tests do
export { type BackoffOptions, backoffDelayMs, DEFAULT_BACKOFF, resolveBackoff } from '../../../core/backoff.ts'
export { isRetryable } from '../../../core/errors.ts'
export { newId } from '../../../core/ids.ts'
export type { ContextLogger } from '../../../core/logger.ts'
export { migrationText, type SqlMigration } from '../../../core/migrate.ts'
export { throwFromOwnWait } from '../../../core/own-statements.ts'
export type { PgPool, PgPoolConnection } from '../../../core/pg/client.ts'
export type { PgliteDatabase } from '../../../core/pglite/pglite-client.ts'
export type { RedisClient } from '../../../core/redis/client.ts'
export type { SqlOutcome, SqlStatement } from '../../../core/sql.ts'
export { readTraceContext, traceHeaders } from '../../../core/trace-context.ts'
