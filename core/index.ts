/**
 * What users implement, match or inject: clock, codecs, errors, logger, schema, SQL.
 *
 * @module
 */
export { type Backoff, type BackoffOptions, backoffDelayMs, DEFAULT_BACKOFF, resolveBackoff } from './backoff.ts'
export { type Clock, DAY, HOUR, MINUTE, SECOND, systemClock } from './clock.ts'
export { bytesCodec, type Codec, CodecError, jsonCodec, textCodec } from './codec.ts'
export { ConcordatError, hasCode, isRetryable, toError } from './errors.ts'
export { newId } from './ids.ts'
export { type ContextLogger, type Logger, silentLogger, stderrLogger } from './logger.ts'
export { type MigrateOptions, migrate, migrationText, type SqlMigration, type SqlPart } from './migrate.ts'
export { type FetchHandler, type NodeHandler, toNode } from './node-server.ts'
export { ReadsDeclarationsOnly } from './reading.ts'
export { SchemaError, type SchemaIssue, type StandardSchemaV1, validate } from './schema.ts'
export {
  quoteIdentifier,
  type SqlClient,
  SqlCommitError,
  type SqlExecutor,
  type SqlListener,
  type SqlOutcome,
  type SqlResult,
  type SqlStatement,
  type SqlTransaction,
  type TransactionLimits,
} from './sql.ts'
export { SqlError, type SqlErrors } from './sql-errors.ts'
export type {
  Instrument,
  Measure,
  Reading,
  SpanOptions,
  Telemetry,
  TelemetryAttributes,
  TelemetrySpan,
} from './telemetry.ts'
export { readTraceContext, type TraceContext, traceHeaders } from './trace-context.ts'
