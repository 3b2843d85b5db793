import { lastingContext } from '../../core/async-contexts.ts'
import { HOUR, systemClock } from '../../core/clock.ts'
import { newId } from '../../core/ids.ts'
import { REQUIRE_TABLES, requireMigrated } from '../../core/migrate.ts'
import { refuseOwnTransaction, type SqlClient, type SqlTransaction } from '../../core/sql.ts'
import type { EncodedMessage } from '../channel/message.ts'
import { DEAD_LETTER_GROUP } from '../consuming/failure/dead-letter-message.ts'
import type { TransportError } from '../errors.ts'
import { ended } from '../transport/kit/deadline.ts'
import { CLOSED_TRANSPORT } from '../transport/kit/transport-error-factory.ts'
import type {
  DestinationSpec,
  GroupPlace,
  PublishOutcome,
  PublishUntil,
  Receiver,
  SettlingTransactions,
  Subscription,
  SubscriptionSpec,
  TopologyPart,
  Transport,
  TransportFeatures,
  TransportHealth,
  TransportHost,
} from '../transport/transport.ts'
import type { LogContext } from './context.ts'
import { Delays } from './delays.ts'
import { DestinationDirectory } from './destination-directory.ts'
import { forgetGroup } from './forget-group.ts'
import { LogPublisher } from './log-publisher.ts'
import { Members } from './members.ts'
import {
  CLOSE_MS,
  type PostgresTransportOptions,
  type ResolvedPostgresOptions,
  resolvePostgresOptions,
} from './options.ts'
import { ProcessLease } from './process-lease.ts'
import { migrateLog, Provisioning } from './provisioning.ts'
import { SegmentRotation } from './segment-rotation.ts'
import { identifyRows } from './set-replica-identity.ts'
import { StatementRunner, type StatementTerms } from './statement-runner.ts'
import { Subscriber } from './subscriber.ts'
import type { LogSubscription } from './subscription.ts'
import { TRANSPORT_PART, transportTables } from './tables.ts'
import { TransactionalSettlement } from './transactional-settlement.ts'
import { failure, TRANSPORT } from './transport-errors.ts'
import { Wakes } from './wakes.ts'

/** A transport that can create its own tables. */
export interface PostgresTransport extends Transport {
  /**
   * Creates or upgrades the tables. Idempotent, safe in several processes at once. `start()` does it, too, unless `provision`
   * says otherwise.
   */
  migrate(): Promise<void>
  /**
   * Forgets a group that no longer has readers, with its position: the log keeps nothing for it. A group that returns is a new
   * one.
   * @returns false when there is none @throws TransportError `refused` while it has members
   */
  forgetGroup(destination: string, group: string): Promise<boolean>
  /**
   * Repairs the log after a dump was restored into another cluster, with every process stopped; `start()` refuses such a log.
   * Loses nothing in the dump; messages delivered before the dump and settled after it are redelivered.
   */
  repair(): Promise<LogRepair>
}

/** Result of `repair`. */
export interface LogRepair {
  /**
   * Number of messages that some group had not settled, and that were not in the dump. In their partitions every group receives
   * all existing messages.
   */
  readonly missing: number
}

/**
 * Kafka's model on tables: a log of each channel in partitions, durable groups with their positions, order per key, delayed
 * messages, in the database that the service uses anyway. `docs/brokers/postgres.md` describes its uses and limits.
 * @throws TypeError / RangeError naming the option
 */
export function postgresTransport(options: PostgresTransportOptions): PostgresTransport {
  return new LogTransport(resolvePostgresOptions(options))
}

const REPAIR: StatementTerms = { timeoutMs: HOUR, isUpkeep: true }

class LogTransport implements PostgresTransport {
  readonly name = TRANSPORT
  readonly features: TransportFeatures
  /** Two calls on two connections may commit in either order. */
  readonly publishConcurrency = 1
  readonly #options: ResolvedPostgresOptions
  #parts: Parts | undefined
  #closed: Promise<void> | undefined

  constructor(options: ResolvedPostgresOptions) {
    this.#options = options
    this.features = featuresOn(options.sql)
  }

  attach(host: TransportHost): void {
    const options = this.#options
    const { clock } = host
    const tables = transportTables(options.schema)
    const database = new StatementRunner(options.sql, options.schema, clock, options.requestTimeoutMs)
    const owner = `${host.instance}/${newId().slice(-12)}@${options.sql.exclusive ?? ''}`
    const session = new ProcessLease({ owner, database, tables, clock, leaseMs: options.leaseMs })
    const context: LogContext = {
      host,
      options,
      database,
      tables,
      session,
      directory: new DestinationDirectory(database, tables),
    }
    const members: Members = new Members(context, (group) => wakes.moved(group))
    const subscriptions = new Set<LogSubscription>()
    const wakes: Wakes = new Wakes(context, subscriptions, {
      onMembers: () => void members.look(),
      onDelayed: (durationMs) => delays.expect(durationMs),
    })
    const delays = new Delays(context, (parts) => wakes.wrote(parts))
    const rotation = new SegmentRotation(context)
    const publisher = new LogPublisher(context, wakes)
    const provisioning = new Provisioning(context)
    const subscriber = new Subscriber(context, members, wakes, subscriptions)
    const lasting = lastingContext()
    this.#parts = { ...context, provisioning, members, wakes, delays, rotation, publisher, subscriber, lasting }
  }

  migrate(): Promise<void> {
    return migrateLog(this.#options)
  }

  async forgetGroup(destination: string, group: string): Promise<boolean> {
    const { database, tables } = this.#attachedOrOwn()
    return forgetGroup(database, tables, { destination, group })
  }

  async repair(): Promise<LogRepair> {
    const { database, tables } = this.#attachedOrOwn()
    await database.query('repair the log', identifyRows(this.#options.schema), [], REPAIR)
    const { rows } = await database.query<{ missing: string }>(
      'repair the log',
      `SELECT ${tables.repair}()::text AS missing`,
      [],
      REPAIR,
    )
    return { missing: Number(rows[0]?.missing ?? 0) }
  }

  async provision(destinations: readonly DestinationSpec[]): Promise<void> {
    if (destinations.length === 0) return
    const parts = this.#attached()
    await parts.provisioning.run(destinations)
    parts.lasting(() => {
      parts.delays.start()
      if (this.#options.provision === 'create') parts.rotation.start()
    })
  }

  describe({ name, partitions, groups }: DestinationSpec): readonly TopologyPart[] {
    return [
      { kind: 'log', name, details: { partitions } },
      ...groups.map((group) => ({ kind: 'group', name: group, details: { log: name } })),
    ]
  }

  refuses(message: EncodedMessage): TransportError | undefined {
    return this.#parts?.publisher.refuses(message)
  }

  publish(messages: readonly EncodedMessage[], until?: PublishUntil): Promise<readonly PublishOutcome[]> {
    if (this.#parts === undefined || this.#closed !== undefined)
      return Promise.resolve(messages.map((message) => failure('closed', CLOSED_TRANSPORT, message)))
    return this.#parts.publisher.publish(messages, until)
  }

  isOn(sql: SqlClient): boolean {
    return sql === this.#options.sql || sql === this.#options.transactionsOf
  }

  settlingIn(sql: SqlClient = this.#options.sql): SettlingTransactions | undefined {
    const { schema, leaseMs } = this.#options
    return this.isOn(sql) ? new TransactionalSettlement(sql, transportTables(schema), leaseMs) : undefined
  }

  async publishIn(
    tx: SqlTransaction,
    messages: readonly EncodedMessage[],
    specOf?: (destination: string) => DestinationSpec,
  ): Promise<void> {
    await this.#attached().publisher.publishIn(tx, messages, specOf)
  }

  settlingGroups(destination: string): Promise<readonly string[]> {
    return this.#attached().directory.settlingGroups(destination)
  }

  async subscribe(spec: SubscriptionSpec, receiver: Receiver): Promise<Subscription> {
    const { lasting } = this.#attached()
    refuseOwnTransaction(this.#options.sql)
    return lasting(async () => {
      const { destination, group, partitions } = spec
      await this.provision([{ name: destination, partitions, groups: group === null ? [] : [group] }])
      const subscription = await this.#attached().subscriber.subscribe(spec, receiver)
      // A reader of dead letters may be an operator, with other settings than the services.
      if (group !== null && group !== DEAD_LETTER_GROUP) this.#parts?.rotation.start()
      return subscription
    })
  }

  async lag({ destination, group }: GroupPlace): Promise<number> {
    const lag = await this.#lag({ destination, group })
    if (lag !== undefined) return lag
    throw failure('unroutable', `"${destination}" has no group "${group}"`, { destination })
  }

  async hasPlace(place: Pick<GroupPlace, 'destination' | 'group'>): Promise<boolean> {
    return (await this.#lag(place)) !== undefined
  }

  async #lag({ destination, group }: Pick<GroupPlace, 'destination' | 'group'>): Promise<number | undefined> {
    const { database, tables } = this.#attached()
    const { rows } = await database.query<{ lag: string | null }>(
      `count the messages of "${destination}" for "${group}"`,
      `SELECT ${tables.lag}($1, $2)::text AS lag`,
      [destination, group],
      { isUpkeep: true },
    )
    const lag = rows[0]?.lag
    return lag === null || lag === undefined ? undefined : Number(lag)
  }

  health(): TransportHealth {
    if (this.#closed !== undefined) return { status: 'down', detail: 'closed' }
    if (this.#parts === undefined) return { status: 'idle' }
    const { database, rotation } = this.#parts
    const { health } = database
    return health.status === 'up' && rotation.kept !== undefined ? { ...health, detail: rotation.kept } : health
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    if (this.#parts === undefined) return
    const { host, provisioning, publisher, wakes, delays } = this.#parts
    provisioning.close()
    publisher.close()
    delays.close()
    await ended(host.clock, CLOSE_MS, this.#leave(this.#parts))
    wakes.close()
  }

  async #leave({ subscriber, wakes, rotation, members }: Parts): Promise<void> {
    await subscriber.close()
    wakes.close()
    await rotation.close()
    await members.close()
  }

  [REQUIRE_TABLES](): Promise<void> {
    const { sql, schema } = this.#options
    return requireMigrated(sql, schema, TRANSPORT_PART)
  }

  /** Also works for a transport without a binder. */
  #attachedOrOwn(): Pick<Parts, 'database' | 'tables'> {
    const { sql, schema, requestTimeoutMs } = this.#options
    if (this.#parts !== undefined) return this.#attached()
    return {
      database: new StatementRunner(sql, schema, systemClock, requestTimeoutMs),
      tables: transportTables(schema),
    }
  }

  #attached(): Parts {
    if (this.#closed !== undefined) throw failure('closed', CLOSED_TRANSPORT)
    if (this.#parts === undefined) throw notAttached()
    return this.#parts
  }
}

function featuresOn({ inMemory }: SqlClient): TransportFeatures {
  return Object.freeze({
    newGroupStartsAtEarliest: true,
    redeliveredFlag: true,
    durable: inMemory === true ? { missing: 'this PGlite is in memory: give it a dataDir' } : true,
    refusesUnroutable: { missing: 'a log keeps messages without a group' },
    delaysByItself: true,
    tellsWholeLag: true,
  })
}

interface Parts extends LogContext {
  readonly provisioning: Provisioning
  readonly members: Members
  readonly wakes: Wakes
  readonly delays: Delays
  readonly rotation: SegmentRotation
  readonly publisher: LogPublisher
  readonly subscriber: Subscriber
  /** Runs work that outlives its caller outside of the contexts that end with it. */
  readonly lasting: ReturnType<typeof lastingContext>
}

const notAttached = (): TransportError => failure('closed', 'attach the transport first: give it to createBinder')
