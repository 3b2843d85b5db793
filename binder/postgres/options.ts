import { DAY, HOUR, MINUTE, SECOND } from '../../core/clock.ts'
import { requireInteger } from '../../core/errors.ts'
import { optionNames, refuseUnknown } from '../../core/option-checks.ts'
import type { Resolved } from '../../core/resolved-options.ts'
import { requireSqlClient, type SqlClient, type SqlListener } from '../../core/sql.ts'
import { checkListener, resolveSql, SQL_NAMES, type SqlOptions } from '../../core/sql-options.ts'
import { checkProvisionMode, type ProvisionMode } from '../transport/provision-mode.ts'

/**
 * Options of `postgresTransport`. There is one log per schema, for all services of a database. On a server give the transport its
 * own pool as `sql` (4 connections are enough): with a shared pool, handlers that hold all its connections in transactions and
 * send in them would wait for each other.
 */
export interface PostgresTransportOptions extends SqlOptions {
  /** The service's own client for the same database: an outbox on it writes to the log in its transactions. @default `sql` */
  readonly transactionsOf?: SqlClient | undefined
  /**
   * Listens to `NOTIFY` of other processes: `pgListener({ connect: () => new pg.Client(...) })`. The caller closes it. Without a
   * listener the transport polls for messages of other processes, which takes up to `pollMs`. @default none
   */
  readonly listener?: SqlListener | undefined
  /**
   * Minimum interval in ms at which the transport notifies other processes of new messages, from its own connection after the
   * commit; 0: never. @default 10; never if only this process can use the database
   */
  readonly notifyEveryMs?: number | undefined
  /** Longest pause between polls of idle partitions, in ms. @default 1 second */
  readonly pollMs?: number | undefined
  /** Time after which a dead process is replaced, in ms; at least 1 s. @default 10 seconds */
  readonly leaseMs?: number | undefined
  /** How long a partition waits for its handlers before another member gets it, in ms. @default 30 seconds */
  readonly rebalanceTimeoutMs?: number | undefined
  /** Settled messages are written with the next fetch, or after this time, in ms. @default 200 */
  readonly commitIntervalMs?: number | undefined
  /** Time limit of a statement, in ms; the pool's own limits apply, too. @default 30 seconds */
  readonly requestTimeoutMs?: number | undefined
  /** Maximum size of a message; a larger one is refused as `too_large`, unless it is a dead letter. @default 16 MiB */
  readonly maxMessageBytes?: number | undefined
  /** How long messages that every group has settled are kept for later groups, in ms. @default 1 hour */
  readonly retentionMs?: number | undefined
  /** A segment of the log is closed when it reaches this size in bytes, or the age of `segmentMs`. @default 256 MiB */
  readonly segmentBytes?: number | undefined
  /**
   * A segment of the log is closed at this age, in ms, if another one is empty. @default a quarter of `retentionMs`, at least 1
   * minute
   */
  readonly segmentMs?: number | undefined
  /** Whether tables, destinations and groups are created. @default 'create' */
  readonly provision?: ProvisionMode | undefined
}

export type ResolvedPostgresOptions = Resolved<PostgresTransportOptions, 'listener'>

const NAMES = optionNames<PostgresTransportOptions>({
  ...SQL_NAMES,
  transactionsOf: true,
  listener: true,
  notifyEveryMs: true,
  pollMs: true,
  leaseMs: true,
  rebalanceTimeoutMs: true,
  commitIntervalMs: true,
  requestTimeoutMs: true,
  maxMessageBytes: true,
  retentionMs: true,
  segmentBytes: true,
  segmentMs: true,
  provision: true,
})

/**
 * Limit for the whole of a close, however many statements it sends. Statements that are pending then are no longer awaited; if the
 * server never answers them, the session ends after `leaseMs`.
 */
export const CLOSE_MS: number = 5 * SECOND

const MIB = 1024 * 1024
/** PostgreSQL's limit for one value, less some overhead. */
const MAX_BODY_BYTES = 512 * MIB

/** @throws TypeError / RangeError naming the option */
export function resolvePostgresOptions(options: PostgresTransportOptions): ResolvedPostgresOptions {
  const path = 'postgresTransport'
  refuseUnknown(path, options, NAMES)
  const { sql, schema } = resolveSql(path, options)
  const retentionMs = requireInteger(`${path}.retentionMs`, options.retentionMs ?? HOUR, 0, 3_650 * DAY)
  return Object.freeze({
    sql,
    transactionsOf: requireSqlClient(`${path}.transactionsOf`, options.transactionsOf ?? sql),
    schema,
    listener: checkListener(`${path}.listener`, options.listener),
    notifyEveryMs: requireInteger(
      `${path}.notifyEveryMs`,
      options.notifyEveryMs ?? (sql.exclusive === undefined ? 10 : 0),
      0,
      MINUTE,
    ),
    pollMs: requireInteger(`${path}.pollMs`, options.pollMs ?? SECOND, 1, HOUR),
    leaseMs: requireInteger(`${path}.leaseMs`, options.leaseMs ?? 10 * SECOND, SECOND, DAY),
    rebalanceTimeoutMs: requireInteger(`${path}.rebalanceTimeoutMs`, options.rebalanceTimeoutMs ?? 30 * SECOND, 0, DAY),
    commitIntervalMs: requireInteger(`${path}.commitIntervalMs`, options.commitIntervalMs ?? 200, 0, MINUTE),
    requestTimeoutMs: requireInteger(`${path}.requestTimeoutMs`, options.requestTimeoutMs ?? 30 * SECOND, 1, HOUR),
    maxMessageBytes: requireInteger(
      `${path}.maxMessageBytes`,
      options.maxMessageBytes ?? 16 * MIB,
      1_024,
      MAX_BODY_BYTES,
    ),
    retentionMs,
    segmentBytes: requireInteger(`${path}.segmentBytes`, options.segmentBytes ?? 256 * MIB, 64 * 1024),
    segmentMs: requireInteger(
      `${path}.segmentMs`,
      options.segmentMs ?? Math.max(MINUTE, Math.floor(retentionMs / 4)),
      1,
      3_650 * DAY,
    ),
    provision: checkProvisionMode(`${path}.provision`, options.provision ?? 'create'),
  })
}
