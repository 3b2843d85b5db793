/**
 * The operator API. Needs the database; dead letters and lag need a transport; saga definitions are not needed. It calls no
 * step and no handler. Every action has a person and a reason.
 */
import { type Logger, type SqlClient, systemClock } from 'concordat/core'
import { checkLogger, hasMethods, optionNames, refuseUnknown, requireFunction, wrongKind } from 'concordat/extension'
import { operatorRecords, requireNote } from 'concordat/operator'
import type { OperatorNote } from 'concordat/saga/coordinator'
import { type BusAdmin, type OperatedBus, requireBus, TransportBusAdmin } from './bus-admin.ts'
import { type ClusterAdmin, type OperatedCluster, StoreClusterAdmin } from './cluster-admin.ts'
import type { DeadLetterAdmin, DeadLetterPlace } from './dead-letter-types.ts'
import { type DoctorReport, examine } from './doctor/doctor.ts'
import type { MigrationApplyOptions, MigrationState, OutboxAdmin, PreparedTransaction } from './engine-types.ts'
import { type GroupLine, groupsIn, logSchemaOf } from './group-lag.ts'
import { countInboxes, type InboxCount } from './inboxes.ts'
import type { InstancesView } from './instances.ts'
import { type OpenTransport, TransportDeadLetterAdmin } from './letters.ts'
import { type LeaderAdmin, type LockAdmin, type OperatedLocks, StoreLeaderAdmin, StoreLockAdmin } from './lock-admin.ts'
import { type OperatedResource, preparedIn, requireResources } from './prepared-transactions.ts'
import { type AuditLine, type AuditOptions, readAudit } from './read-audit.ts'
import { type SagaAdmin, SqlSagaAdmin } from './sagas/admin.ts'
import { Stores } from './stores.ts'
import { SqlUndoAdmin, type UndoAdmin } from './undo-admin.ts'

/** Options of `createOperator`. */
export interface OperatorOptions {
  /** The service's database. */
  readonly sql: SqlClient
  /** Schema of its tables. @default 'concordat' */
  readonly schema?: string | undefined
  /**
   * Creates a transport for each list or count of letters or lag; it is closed at the end. Give it `provision: 'check'`, so
   * that a wrong name creates nothing. @default the log in the database; without a log these calls are refused
   */
  readonly transport?: OpenTransport | undefined
  /** Store in which the services lock and elect: `redisLocks({ url })`. @default the locks in the database, if it has any */
  readonly locks?: OperatedLocks | undefined
  /** Store of members and shared state: `redisStateStore({ url })`. @default those in the database, if it has any */
  readonly cluster?: OperatedCluster | undefined
  /**
   * Databases other than `sql` in which XA participants prepare: `[mysqlResource(pool)]`. `prepared` and `doctor` also check
   * them.
   * @default none
   */
  readonly resources?: readonly OperatedResource[] | undefined
  /** Configuration of the services' bus, if it is not the default. @default not signed, on the channel 'concordat.bus' */
  readonly bus?: OperatedBus | undefined
  /** Receives messages of migrations and of the transport. @default stderrLogger */
  readonly logger?: Logger | undefined
}

/** Facts for `doctor` beyond its own findings. */
export interface DoctorOptions {
  /** Groups on a broker. @default those of the log in the database alone */
  readonly places?: readonly DeadLetterPlace[] | undefined
  /** Reports of instances: `watch.view()` of `bus.watch()`. @default unknown */
  readonly instances?: InstancesView | undefined
}

/** Views and actions of an operator. Owns nothing: close the objects that you passed. */
export interface Operator {
  readonly sagas: SagaAdmin
  readonly outbox: OutboxAdmin
  readonly letters: DeadLetterAdmin
  readonly locks: LockAdmin
  readonly leaders: LeaderAdmin
  readonly cluster: ClusterAdmin
  readonly bus: BusAdmin
  readonly undo: UndoAdmin
  /**
   * Prepared transactions in the database, including those of others, and ours in each of `resources`: the oldest first, at
   * most twenty. `on` names the resource.
   */
  prepared(): Promise<readonly PreparedTransaction[]>
  /**
   * Groups of the log in the database, none without a log; at most 1,001, those created first. With 1,001 there may be more.
   */
  groups(): Promise<readonly GroupLine[]>
  /** Number of remembered messages in each consumer's inbox. @throws `core.tables_missing` */
  inboxes(): Promise<readonly InboxCount[]>
  /** Versions of the tables of every part. Reads only. */
  migrations(): Promise<readonly MigrationState[]>
  /**
   * Applies missing migrations and creates the operator's own table; safe while services run, as `migrate()` of each part.
   * @throws `core.sql_version`
   */
  migrate(options: MigrationApplyOptions): Promise<readonly MigrationState[]>
  /** Actions of operators, newest first. */
  audit(options?: AuditOptions): Promise<readonly AuditLine[]>
  /**
   * Records that a payload is read: call it before showing the payload, and show nothing when it throws.
   * @throws TypeError, `core.tables_missing`
   */
  recordLook(target: string, note: OperatorNote): Promise<void>
  /**
   * Runs all checks and changes nothing; a database that does not answer is a line of the report, not an error.
   * @param options.places groups on a broker whose lag and dead letters are counted, at most 50. Those of the log in the database are
   * known
   * @param options.instances reports of instances, from `bus.watch()`, which show hanging handler calls. Without it these are unknown
   */
  doctor(options?: DoctorOptions): Promise<DoctorReport>
}

const NAMES = optionNames<OperatorOptions>({
  sql: true,
  schema: true,
  transport: true,
  locks: true,
  cluster: true,
  resources: true,
  bus: true,
  logger: true,
})

/** @throws TypeError naming the option */
export function createOperator(options: OperatorOptions): Operator {
  const path = 'createOperator'
  refuseUnknown(path, options, NAMES)
  const records = operatorRecords(path, options.sql, options.schema)
  const { sql, schema, trail } = records
  const logger = checkLogger(`${path}.logger`, options.logger)
  const stores = new Stores({
    sql,
    schema,
    transport: optional(`${path}.transport`, options.transport, requireFunction),
    locks: optional(`${path}.locks`, options.locks, requireLocks),
    cluster: optional(`${path}.cluster`, options.cluster, requireCluster),
    logger,
  })
  const resources = requireResources(`${path}.resources`, options.resources ?? [])
  const hasBroker = options.transport !== undefined
  const bus = optional(`${path}.bus`, options.bus, requireBus) ?? {}
  const letters = new TransportDeadLetterAdmin(() => stores.transport(), trail, logger, sql)
  const cluster = new StoreClusterAdmin(() => stores.cluster())
  const locks = new StoreLockAdmin(() => stores.locks(), trail)
  return Object.freeze({
    sagas: new SqlSagaAdmin(records),
    outbox: records.outbox,
    letters,
    locks,
    leaders: new StoreLeaderAdmin(locks),
    cluster,
    bus: new TransportBusAdmin({ open: () => stores.transport(), bus, cluster, trail, logger }),
    undo: new SqlUndoAdmin(sql, schema, trail),
    prepared: () => preparedIn(records, resources),
    groups: async () => groupsIn(sql, await logSchemaOf(sql, schema)),
    inboxes: () => countInboxes(sql, schema),
    migrations: () => records.migrations(),
    migrate: (order: MigrationApplyOptions) => records.migrate(order, logger),
    audit: (which?: AuditOptions) => readAudit(sql, schema, which),
    recordLook: async (target: string, note: OperatorNote) =>
      trail.line({ part: 'console', action: 'payloads', target, note: requireNote('recordLook', note) }, 'shown'),
    doctor: ({ places = [], instances }: DoctorOptions = {}) =>
      examine({ records, clock: systemClock, resources, letters, places, instances, hasBroker }),
  })
}

function optional<T>(path: string, value: T | undefined, require: (path: string, value: T) => T): T | undefined {
  return value === undefined ? undefined : require(path, value)
}

function requireLocks(path: string, value: OperatedLocks): OperatedLocks {
  if (hasMethods(value, ['inspect', 'list', 'forceRelease', 'audit'])) return value
  throw wrongKind(path, value, 'locks such as redisLocks({ url })')
}

function requireCluster(path: string, value: OperatedCluster): OperatedCluster {
  if (hasMethods(value, ['members', 'read'])) return value
  throw wrongKind(path, value, 'a cluster store such as redisStateStore({ url })')
}
