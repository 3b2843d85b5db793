/**
 * Interfaces that users implement, match or inject: clock, codecs, errors, logger, schema, SQL.
 *
 * @module
 */
export { type Clock, DAY, HOUR, MINUTE, SECOND, systemClock } from './clock.ts'
export { bytesCodec, type Codec, CodecError, jsonCodec, textCodec } from './codec.ts'
export { ReadsDeclarationsOnly } from './declarations-only.ts'
export { ConcordatError, hasCode } from './errors.ts'
export { type Logger, silentLogger, stderrLogger } from './logger.ts'
export { migrate } from './migrate.ts'
export { type FetchHandler, type NodeHandler, toNode } from './node-http-adapter.ts'
export { SchemaError, type StandardSchemaV1, validate } from './schema.ts'
export {
  quoteIdentifier,
  type SqlClient,
  SqlCommitError,
  type SqlExecutor,
  type SqlListener,
  type SqlResult,
  type SqlTransaction,
  type TransactionLimits,
} from './sql.ts'
export { SqlError } from './sql-error.ts'
export type { Telemetry } from './telemetry-interface.ts'
