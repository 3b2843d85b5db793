/**
 * One service made of all parts: a binder, and with a database the outbox, its relay, the inbox, participants and the saga
 * coordinator; with locks, leaderships. All parts are created, migrated, started and closed here, in the order that keeps the
 * guarantees, under one identity.
 *
 *     idle -> starting -> running -> closing -> closed
 *
 * Parts stay accessible: further options of a part go into `parts`, and each part is a property of the service.
 */
import type { Binder } from '../binder/binder.ts'
import type { Binding } from '../binder/bindings/declarations.ts'
import type { Channel } from '../binder/channel/channel.ts'
import type { SendOptions } from '../binder/channel/message-codec.ts'
import type { SendDestination } from '../binder/sending/destination-provisioning.ts'
import type { Transport } from '../binder/transport/transport.ts'
import type { Bus } from '../bus/bus.ts'
import type { Logger } from '../core/logger.ts'
import type { SqlClient, SqlListener } from '../core/sql.ts'
import type { Telemetry } from '../core/telemetry-interface.ts'
import type { Membership } from '../election/cluster/membership/membership.ts'
import type { MembershipOptions } from '../election/cluster/membership/membership-options.ts'
import type { SharedState } from '../election/cluster/state/state.ts'
import type { SharedStateOptions } from '../election/cluster/state/state-options.ts'
import type { Election, Term } from '../election/leader/election.ts'
import type { Schedule, ScheduleOptions } from '../election/schedule/schedule-types.ts'
import type { Locks } from '../locks/lock.ts'
import type { SqlInbox } from '../outbox/inbox.ts'
import type { Outbox } from '../outbox/outbox.ts'
import type { Relay } from '../outbox/relay.ts'
import type { SendingTransaction } from '../outbox/transaction-with-send.ts'
import type { Coordinator } from '../saga/coordinator/coordinator.ts'
import type { GlobalTransaction } from '../saga/coordinator/global-transaction.ts'
import type { SagaRun } from '../saga/coordinator/saga-run.ts'
import type { StartOptions } from '../saga/coordinator/starter.ts'
import type { GlobalTransactionRunOptions } from '../saga/coordinator/transaction-propagation.ts'
import type { Saga } from '../saga/definition/saga-definition-types.ts'
import type { GlobalTransactionDefinition } from '../saga/global/definition.ts'
import type { Stored } from '../saga/json.ts'
import type { AnyHeaders } from '../saga/wire/transaction-header.ts'
import type { CloseOnSignalsOptions } from './close-on-signals.ts'
import type { ServiceHealth } from './health.ts'
import type { PartOptions } from './part-options.ts'

/** Work of a leader, same as the `onGranted` of an election. */
export type LeaderWork = (term: Term) => void | Promise<void>

/** Jobs at given times, run by the leader of a separate role. */
export type ServiceSchedule = Pick<ScheduleOptions, 'jobs' | 'lastTick' | 'onError'>

/** Cluster that this instance joins. */
export type ServiceCluster = Pick<MembershipOptions, 'store' | 'group' | 'meta'> & {
  /** Name of the cluster: all services with the same name and store form one. @default the service's name */
  readonly name?: string | undefined
}

/** Options of `createService`. */
export interface ServiceOptions<Sent extends string = string> {
  /** Name of the service: CloudEvents `source`, reply channel, connection names, log field, first part of its bus address. */
  readonly name: string
  /** Name of this process in leases, terms, members and logs. Unique. @default `<name>-<host name>-<process id>-<random>` */
  readonly instance?: string | undefined
  /** The broker, same as for `createBinder`. Closed with the service. */
  readonly transport: Transport
  /** Database for sagas, participants, `once: true` and `transaction`. The caller closes its pool. */
  readonly sql?: SqlClient | undefined
  /** Schema of all tables. @default 'concordat' */
  readonly schema?: string | undefined
  /**
   * Wakes the relay when another process of the service adds a message, and lets the outbox notify the others (`notifyEveryMs`:
   * 10). A relay that is idle for a minute then polls every 2 s instead of every 200 ms; see `createRelay`. @default none
   */
  readonly listener?: SqlListener | undefined
  /**
   * Sinks, processors, routes, sources, participants. `once: true` and a participant without `sql` use the service's database.
   */
  readonly bindings?: readonly Binding[] | undefined
  /** Channels for `send` and `tx.send`, created before anything is sent. */
  readonly sends?: ReadonlyArray<SendDestination<Sent>> | undefined
  /**
   * Sagas and global transactions that this service coordinates; several versions of one name are allowed. Needs `sql`. @default
   * none
   */
  readonly sagas?: readonly Saga<unknown, unknown, object>[] | undefined
  /**
   * Locks for `leads` and `service.locks`. A function receives the service's identity, which leases then show. Closed with the
   * service.
   */
  readonly locks?: Locks | ((identity: ServiceIdentity) => Locks) | undefined
  /** Work of this instance while it leads, by role. Needs `locks`. */
  readonly leads?: Readonly<Record<string, LeaderWork>> | undefined
  /** Jobs by role; each role is led by one instance at a time, as in `leads`. Needs `locks`. A role is in one of the two only. */
  readonly schedules?: Readonly<Record<string, ServiceSchedule>> | undefined
  /**
   * Cluster to join in `start` and leave in `close`. The store is closed with the service. `cluster: { store: redisStateStore({
   * url }) }`
   */
  readonly cluster?: ServiceCluster | undefined
  /** Creates a bus with this service's name and instance; the service starts and closes it. @default none */
  readonly bus?: ((identity: ServiceIdentity) => Bus) | undefined
  /** `apply` creates or upgrades the tables in `start`; `check` refuses to start without them. @default 'apply' */
  readonly migrate?: 'apply' | 'check' | undefined
  /**
   * Parts that must be up for `health().ready`, by their names in `health().parts`: `binder`, `relay`, `coordinator`, `prepared`,
   * `locks`, `bus`, `membership`, `leads <role>` for each role of `leads` and `schedules`, `schedule <role>`. Other names are
   * refused; a part that the service does not have is ignored. Other parts make the service `degraded` when they are down.
   * @default ['binder', 'relay', 'coordinator']
   */
  readonly readiness?: readonly string[] | undefined
  /** Further options of the parts, by part. */
  readonly parts?: PartOptions | undefined
  /**
   * Logger of every part, with `service` and `instance` in each line if it has `child`, like pino. `silentLogger` logs nothing.
   * @default stderrLogger: warnings and errors, a line each on stderr, with `service`
   */
  readonly logger?: Logger | undefined
  /** Telemetry of every part: spans and metrics, from `openTelemetry()` of `concordat/core/opentelemetry`. @default none */
  readonly telemetry?: Telemetry | undefined
  /** How long `close` waits for running work, per part. @default 10 seconds */
  readonly drainTimeoutMs?: number | undefined
}

/**
 * Declarations of a service: all options of `createService` that need no connection, so those options are assignable. For
 * documents and diagrams: nothing of it is run.
 */
export interface ServiceDeclaration extends Pick<ServiceOptions, 'name' | 'bindings' | 'sends' | 'sagas'> {
  /** Roles that its instances lead. */
  readonly leads?: Readonly<Record<string, unknown>> | undefined
  /** Its jobs, by role. */
  readonly schedules?: Readonly<Record<string, Pick<ServiceSchedule, 'jobs'>>> | undefined
  /** Cluster that it joins. */
  readonly cluster?: Pick<ServiceCluster, 'name' | 'group'> | undefined
  /** `binder.replies`: the reply channels of its requests. */
  readonly parts?: Pick<PartOptions, 'binder'> | undefined
}

/** Identity of this process. Can be spread into the options of locks, buses and memberships. */
export interface ServiceIdentity {
  readonly service: string
  readonly instance: string
  readonly logger: Logger
  readonly telemetry: Telemetry | undefined
}

/** An open transaction of the service's database that can also send and start. */
export interface ServiceTransaction<Sent extends string = string> extends SendingTransaction<Sent> {
  /** Starts a saga, which exists if and only if the transaction commits. @throws the errors of `coordinator.start` */
  start<In, Out, Results extends object>(
    saga: Saga<In, Out, Results>,
    options: StartOptions<In>,
  ): Promise<SagaRun<Results>>
}

/** All parts of one service, with one start, one health and one close. */
export interface Service<Sent extends string = string> extends AsyncDisposable {
  readonly name: string
  readonly instance: string
  /**
   * Migrates or checks the tables, then starts binder, bus, relay, coordinator and leaderships. Waits for an unavailable broker
   * in the background (`ready` waits for it). If one part fails, closes all opened parts and rejects with that error.
   * @throws ServiceClosed when it is closed meanwhile
   */
  start(): Promise<void>
  /** Resolves when every part required for readiness is up. @throws ServiceNotReady after `timeoutMs` (default 30 s) */
  ready(options?: { readonly timeoutMs?: number | undefined; readonly signal?: AbortSignal | undefined }): Promise<void>
  /**
   * Sends now; resolves when the broker has confirmed. To send together with a change of data, use `transaction`. @throws the
   * errors of `binder.send`
   */
  send<In, Out>(
    channel: Channel<In, Out, Sent>,
    payload: NoInfer<In>,
    options?: SendOptions,
  ): Promise<{ readonly id: string }>
  /** Starts a saga, or finds the one with this id. @throws the errors of `coordinator.start`; TypeError without `sagas` */
  run<In, Out, Results extends object>(
    saga: Saga<In, Out, Results>,
    options: StartOptions<In>,
  ): Promise<SagaRun<Results>>
  /**
   * Runs code as one transaction over the services whose branches it calls: all are confirmed when it returns, and all are
   * cancelled when it throws or its process dies. @throws the errors of `coordinator.globalTransaction`; TypeError without
   * `sagas`
   */
  globalTransaction<In, Out, Result>(
    definition: GlobalTransactionDefinition<In, Out>,
    options: GlobalTransactionRunOptions<In>,
    code: (global: GlobalTransaction) => Result | Promise<Result>,
  ): Promise<Stored<Result>>
  /**
   * Runs `work` in this service's global transaction named by the headers of a request or message, whose code runs in another
   * instance. If `work` fails, the transaction is cancelled. @throws the errors of `coordinator.inheritTransaction`; TypeError
   * without `sagas`
   */
  inheritTransaction<T>(headers: AnyHeaders, work: () => T | Promise<T>): Promise<T>
  /**
   * Runs one local transaction of the service's database, including everything that is sent and started in it.
   * @throws the error of `work`, after the rollback; TypeError without `sql`
   */
  transaction<T>(work: (tx: ServiceTransaction<Sent>) => Promise<T>): Promise<T>
  /** Returns its declarations. No I/O; also before `start` and after `close`. */
  describe(): ServiceDeclaration
  /** Returns the health. No I/O. */
  health(): ServiceHealth
  /**
   * Hands leaderships over, leaves the cluster, stops intake, finishes running work, then closes coordinator, relay, bus, binder
   * and locks. Idempotent, never rejects.
   */
  close(): Promise<void>
  /**
   * Closes the service on SIGTERM and SIGINT, then the parts in `then`, and ends the process. Resolves when everything is closed.
   * Call it before `start()`: a running `start()` or `ready()` is then abandoned, and rejects only after everything is closed, if
   * the process is still alive.
   * @param options `then`: closed or called after the service, one by one. `timeoutMs`: total time limit (default 30 s)
   */
  closeOnSignals(options?: CloseOptions): Promise<void>
  readonly binder: Binder
  /** The outbox; present with `sql`. */
  readonly outbox: Outbox | undefined
  readonly relay: Relay | undefined
  readonly inbox: SqlInbox | undefined
  /** The coordinator; present with `sagas`. */
  readonly coordinator: Coordinator | undefined
  readonly locks: Locks | undefined
  readonly bus: Bus | undefined
  /** Elections by role, including those of `schedules`. */
  readonly elections: Readonly<Record<string, Election>>
  /** Schedules by role. */
  readonly schedules: Readonly<Record<string, Schedule>>
  /** The membership; present with `cluster`. */
  readonly membership: Membership | undefined
  /**
   * Returns the state with this name in the service's cluster, shared by all instances. The same object for the same name; closed
   * with the service.
   * @throws TypeError without `cluster`, or when options are passed for an existing state; ServiceClosed
   */
  sharedState<Out = unknown, In = Out>(name: string, options?: StateOptions<Out, In>): SharedState<Out, In>
}

/** Options of `service.sharedState`: those of `createSharedState` that the service does not set itself. */
export type StateOptions<Out, In = Out> = Omit<
  SharedStateOptions<Out, In>,
  'store' | 'name' | 'cluster' | 'logger' | 'telemetry'
>

/** Options of `service.closeOnSignals`. */
export interface CloseOptions extends Pick<CloseOnSignalsOptions, 'signals' | 'timeoutMs' | 'exit'> {
  /** Closed or called after the service, one by one, such as the pool of its database. @default none */
  readonly then?: ReadonlyArray<{ close(): unknown } | (() => unknown)> | undefined
}
