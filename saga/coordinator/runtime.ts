/** Runtime of a coordinator: its options, its database, and the state that its parts share. */
import type { Logger } from '../../core/logger.ts'
import type { SqlClient } from '../../core/sql.ts'
import { withActiveSpan } from '../../core/telemetry-interface.ts'
import type { Saga } from '../definition/saga-definition-types.ts'
import { HomeDatabase } from '../store/home-database-id.ts'
import type { LeaseStore } from '../store/lease-store.ts'
import type { LeftMessageStore } from '../store/left-messages.ts'
import type { SagaReads } from '../store/saga-reads.ts'
import type { SagaStore } from '../store/store.ts'
import type { SagaVersion } from '../store/store-types.ts'
import { StepCalls } from './health.ts'
import type { ResolvedOptions } from './options.ts'
import { RunningGlobalTransactions } from './running-global-transactions.ts'
import { SagaLoader } from './saga-loader.ts'
import { SagaTelemetry } from './telemetry.ts'
import type { WatchedDatabase } from './watched-database.ts'

/** Shared by all parts of one coordinator. Fields not declared here are options, described at `CoordinatorOptions`. */
export interface CoordinatorRuntime extends Omit<ResolvedOptions, 'telemetry'> {
  /** Database of the coordinator. Each failed statement affects health, whichever part sent it. */
  readonly sql: SqlClient
  /** Reads and writes the sagas in it. */
  readonly store: SagaStore
  /** Takes due sagas, and renews the leases of sagas that this process runs. */
  readonly leaseStore: LeaseStore
  /** Reads sagas for callers, operators and health. */
  readonly reports: SagaReads
  /** Reads and writes messages stored for a version of a saga. */
  readonly leftMessages: LeftMessageStore
  /** Identifies the database; the births of its sagas begin with it. */
  readonly homeDatabase: HomeDatabase
  /** Owner of the sagas that this process runs. In an embedded database it begins with the id of the database's current run. */
  readonly instance: string
  /** Returns the definition of a version; `undefined` when this process has not loaded it. */
  readonly definition: (version: SagaVersion) => Saga | undefined
  /** Reads sagas together with their definitions. */
  readonly loader: SagaLoader
  /** Spans and metrics; `undefined` without the option `telemetry`. */
  readonly telemetry: SagaTelemetry | undefined
  /** Logger for steps. Its lines carry the active span. */
  readonly stepLogger: Logger
  /** Code of global transactions that runs in this process. */
  readonly runningTransactions: RunningGlobalTransactions
  /** Calls of local steps that have not returned. */
  readonly stepCalls: StepCalls
}

/** Makes the runtime of one coordinator. */
export function createRuntime(options: ResolvedOptions, database: WatchedDatabase): CoordinatorRuntime {
  const { sql, store, leaseStore, reports, leftMessages } = database
  const { clock, logger, telemetry, schema, instance } = options
  const definitions = new Map<string, Saga>(options.sagas.map((saga) => [versionKey(saga), saga]))
  const definition = (version: SagaVersion): Saga | undefined => definitions.get(versionKey(version))
  return {
    ...options,
    sql,
    store,
    leaseStore,
    reports,
    leftMessages,
    homeDatabase: new HomeDatabase(schema),
    instance: sql.exclusive === undefined ? instance : `${ownerPrefix(sql.exclusive)}${instance}`,
    definition,
    loader: new SagaLoader(sql, store, clock, definition),
    telemetry: telemetry && new SagaTelemetry(telemetry, clock, options.shard),
    stepLogger: withActiveSpan(logger, telemetry),
    runningTransactions: new RunningGlobalTransactions(),
    stepCalls: new StepCalls(clock),
  }
}

/** Prefix of owners in one run of an embedded database; owners from a previous run are certainly gone. */
export function ownerPrefix(exclusive: string): string {
  return `${exclusive}:`
}

function versionKey({ name, version }: SagaVersion): string {
  return `${name}@${version}`
}
