import { DAY, HOUR, MINUTE, SECOND } from '../../core/clock.ts'
import { requireInteger } from '../../core/errors.ts'
import { optionNames, refuseUnknown } from '../../core/option-checks.ts'
import type { Resolved } from '../../core/resolved-options.ts'
import { requireSqlClient, type SqlClient, type SqlListener } from '../../core/sql.ts'
import { checkListener, resolveSql, SQL_NAMES, type SqlOptions } from '../../core/sql-options.ts'
import { checkProvisionMode, type ProvisionMode } from '../transport/provision-mode.ts'

/**
 * Options of `postgresTransport`. There is one log per schema, for all services of a database. On a server give the transport a pool of
 * its own as `sql` (4 connections are enough): handlers that hold all connections of a shared one, each in a transaction, and send in
 * it, wait for each other.
 */
export interface PostgresTransportOptions extends SqlOptions {
  /**
   * The service's own client of the same database: an outbox on it writes to the log in its transactions. @default `sql`
   */
  readonly transactionsOf?: SqlClient | undefined
  /**
   * Hears the `NOTIFY` of other processes: `pgListener({ connect: () => new pg.Client(...) })`. Closing it stays with the
   * caller. Without one other processes are polled for, which takes up to `pollMs`. @default none
   */
  readonly listener?: SqlListener | undefined
  /**
   * The transport tells other processes of new messages at most once per this many ms, from a connection of its own after the commit;
   * 0 for never. @default 10; never where only this process can use the database
   */
  readonly notifyEveryMs?: number | undefined
  /** The longest pause between looks at partitions that are idle, in ms. @default 1 second */
  readonly pollMs?: number | undefined
  /** A process that is gone is replaced after this long, in ms; at least 1 s. @default 10 seconds */
  readonly leaseMs?: number | undefined
  /** How long a partition waits for its handlers before another member gets it, in ms. @default 30 seconds */
  readonly rebalanceTimeoutMs?: number | undefined
  /** Settled messages are written with the next fetch, or after this long, in ms. @default 200 */
  readonly commitIntervalMs?: number | undefined
  /** How long a statement may take, in ms; the pool's own limits hold, too. @default 30 seconds */
  readonly requestTimeoutMs?: number | undefined
  /** A larger message is refused as `too_large`, unless it is a dead letter. @default 16 MiB */
  readonly maxMessageBytes?: number | undefined
  /** How long messages are kept that every group has settled, for groups that come later, in ms. @default 1 hour */
  readonly retentionMs?: number | undefined
  /** A segment of the log is closed when it has this many bytes ... @default 256 MiB */
  readonly segmentBytes?: number | undefined
  /** ... or this age, in ms, if another one is empty. @default a quarter of `retentionMs`, at least 1 minute */
  readonly segmentMs?: number | undefined
  /** Whether tables, destinations and groups are made. @default 'create' */
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
