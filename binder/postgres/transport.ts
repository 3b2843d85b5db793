import { lastingContext } from '../../core/ambient.ts'
import { HOUR, systemClock } from '../../core/clock.ts'
import { newId } from '../../core/ids.ts'
import { migrate, REQUIRE_TABLES, requireMigrated } from '../../core/migrate.ts'
import { refuseOwnTransaction, type SqlClient, type SqlTransaction } from '../../core/sql.ts'
import type { EncodedMessage } from '../channel/message.ts'
import { DEAD_LETTER_GROUP } from '../consuming/failure/dead-letter.ts'
import { TransportError } from '../errors.ts'
import { CLOSED_TRANSPORT } from '../transport/kit/failure.ts'
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
import { Database, type StatementTerms } from './database.ts'
import { Delays } from './delays.ts'
import { Directory } from './directory.ts'
import { failure, isWithoutTables, TRANSPORT, toTransportError } from './failure.ts'
import { forgetGroup } from './forget-group.ts'
import { Members } from './members.ts'
import { requireOneDatabase } from './one-database.ts'
import { type PostgresTransportOptions, type ResolvedPostgresOptions, resolvePostgresOptions } from './options.ts'
import { Place } from './place.ts'
import { Publisher } from './publisher.ts'
import { identifyRows } from './replica-identity.ts'
import { Rotation } from './rotation.ts'
import { Session } from './session.ts'
import { Settling } from './settling.ts'
import { AnonymousSource } from './source.ts'
import { type LogPlace, LogSubscription } from './subscription.ts'
import { TRANSPORT_PART, transportTables } from './tables.ts'
import { Wakes } from './wakes.ts'

/** A transport that can make its own tables. */
export interface PostgresTransport extends Transport {
  /**
   * Makes or upgrades the tables. Idempotent, safe in several processes at once. `start()` does it, too, unless `provision`
   * says otherwise.
   */
  migrate(): Promise<void>
  /**
   * Forgets a group without future readers, with its position: the log keeps nothing for it any longer. A group that returns is a new one.
   * @returns false when there is none @throws TransportError `refused` while it has members
   */
  forgetGroup(destination: string, group: string): Promise<boolean>
  /**
   * After a dump was restored into another cluster, with every process stopped: `start()` refuses such a log. Loses nothing that
   * is in the dump; what was handed out before the dump and settled after it comes again.
   */
  repair(): Promise<LogRepair>
}

/** Findings of `repair`. */
export interface LogRepair {
  /** Messages that some group had not settled, and that were not in the dump. In their partitions what is there comes to every group. */
  readonly missing: number
}

/**
 * Kafka's meaning on tables: a log of each channel in partitions, durable groups with their places, order per key, delayed
 * messages, in the database that the service has anyway. `docs/brokers/postgres.md` says what it is for and where it ends.
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
  readonly #subscriptions: Set<LogSubscription> = new Set()
  #parts: Parts | undefined
  #migrated: Promise<void> | undefined
  #isOfThisCluster = false
  #isOneDatabase = false
  #closed: Promise<void> | undefined

  constructor(options: ResolvedPostgresOptions) {
    this.#options = options
    this.features = Object.freeze({
      newGroupStartsAtEarliest: true,
      redeliveredFlag: true,
      durable: options.sql.inMemory === true ? { missing: 'this PGlite is in memory: give it a dataDir' } : true,
      refusesUnroutable: { missing: 'a log keeps messages without a group' },
      delaysByItself: true,
      tellsWholeLag: true,
    })
  }

  attach(host: TransportHost): void {
    const options = this.#options
    const { clock } = host
    const tables = transportTables(options.schema)
    const database = new Database(options.sql, options.schema, clock, options.requestTimeoutMs)
    const owner = `${host.instance}/${newId().slice(-12)}@${options.sql.exclusive ?? ''}`
    const session = new Session({ owner, database, tables, clock, leaseMs: options.leaseMs })
    const directory = new Directory(database, tables)
    const members: Members = new Members({
      host,
      options,
      database,
      tables,
      session,
      find: (destination, group) => directory.group(destination, group),
      moved: (group) => wakes.moved(group),
    })
    const wakes: Wakes = new Wakes({
      host,
      options,
      database,
      tables,
      subscriptions: this.#subscriptions,
      onMembers: () => void members.look(),
      onDelayed: (durationMs) => delays.expect(durationMs),
    })
    const delays = new Delays({ host, database, tables, wrote: (parts) => wakes.wrote(parts) })
    const rotation = new Rotation({ host, options, database, tables })
    const publisher = new Publisher({
      clock,
      options,
      database,
      tables,
      find: (destination, tx) => directory.find(destination, tx),
      wrote: (parts) => wakes.wrote(parts),
      specOf: (destination) => directory.specOf(destination),
      forget: () => directory.forget(),
      make: (spec, sql) => directory.make(spec, options.sql.exclusive === undefined ? undefined : sql),
      wroteSoon: (parts) => wakes.wroteSoon(parts),
      delayed: (durationMs) => wakes.delayed(durationMs),
    })
    const lasting = lastingContext()
    this.#parts = { host, tables, database, directory, members, session, wakes, delays, rotation, publisher, lasting }
  }

  async migrate(): Promise<void> {
    await migrate(this.#options.sql, this.#options.schema, TRANSPORT_PART.name, TRANSPORT_PART.migrations)
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
    const { provision, sql } = this.#options
    // Later callers wait for the same tables.
    refuseOwnTransaction(sql)
    try {
      await this.#provision(destinations)
    } catch (error) {
      if (this.#migrated === undefined || !isWithoutTables(error)) throw error
      // The former tables were dropped.
      this.#migrated = undefined
      await this.#provision(destinations)
    }
    parts.lasting(() => {
      parts.delays.start()
      if (provision === 'create') parts.rotation.start()
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
    return this.isOn(sql) ? new Settling(sql, transportTables(schema), leaseMs) : undefined
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
    return lasting(() => this.#subscribe(spec, receiver))
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
    const { publisher, wakes, delays, rotation, members } = this.#parts
    publisher.close()
    delays.close()
    await Promise.all([...this.#subscriptions].map((subscription) => subscription.close()))
    wakes.close()
    await rotation.close()
    await members.close()
  }

  async #subscribe(spec: SubscriptionSpec, receiver: Receiver): Promise<Subscription> {
    const { destination, group, partitions } = spec
    const { directory, members, session, wakes, rotation, host } = this.#attached()
    const groups = group === null ? [] : [group]
    await this.provision([{ name: destination, partitions, groups }])
    const place = group === null ? await this.#ends(destination) : await directory.group(destination, group)
    if (place instanceof TransportError) throw place
    if (spec.settlesIn !== undefined && !('ends' in place)) await directory.settlesIn(place.id)
    const subscription: LogSubscription = new LogSubscription(spec, place, receiver, {
      clock: host.clock,
      commitIntervalMs: this.#options.commitIntervalMs,
      rebalanceTimeoutMs: this.#options.rebalanceTimeoutMs,
      isValid: () => session.isValid(),
      fenced: () => void members.look(),
      unsure: ({ group: left }) => void (left !== undefined && members.unsure(left)),
      lookSoon: () => this.#parts?.wakes.soon(),
      ended: async (ended) => {
        this.#subscriptions.delete(ended)
        await members.leave(ended)
      },
    })
    this.#attached()
    this.#subscriptions.add(subscription)
    try {
      if ('ends' in place) for (const each of place.ends) subscription.hold(each.source, each.place)
      else await members.join(subscription, place.partitions)
    } catch (error) {
      await subscription.close()
      throw toTransportError(`subscribe to "${destination}"`, error, this.#options.schema, destination)
    }
    wakes.start()
    // A reader of dead letters may be an operator, with other settings than the services.
    if (group !== null && group !== DEAD_LETTER_GROUP) rotation.start()
    return subscription
  }

  /** Everything from now on. */
  async #ends(destination: string): Promise<Ends | TransportError> {
    const { database, tables } = this.#attached()
    const { rows } = await database.query<{ part: number; n: number; next: string; log: string }>(
      `subscribe to "${destination}"`,
      `SELECT e.part, e.n, e.next::text AS next, r.tableoid::text AS log FROM ${tables.ends}($1) e CROSS JOIN ${tables.ring} r`,
      [destination],
    )
    const log = rows[0]?.log
    if (log === undefined)
      return failure('unavailable', `"${destination}" does not exist: provision it`, { destination })
    const ends = rows.map(({ part, n, next }) => {
      const from = Number(next)
      const place = new Place({ settled: from, handed: from, done: [] })
      return { source: new AnonymousSource({ database, tables, log }, part, n), place }
    })
    return { id: undefined, log, ends }
  }

  async #provision(destinations: readonly DestinationSpec[]): Promise<void> {
    const { provision } = this.#options
    await this.#withTables()
    await this.#withTransactions()
    if (provision === 'create') for (const spec of destinations) await this.#attached().directory.create(spec)
    if (provision === 'check') await this.#check(destinations)
  }

  async #check(destinations: readonly DestinationSpec[]): Promise<void> {
    const { directory } = this.#attached()
    const problems: string[] = []
    for (const spec of destinations) problems.push(...(await directory.check(spec)))
    if (problems.length > 0)
      throw failure(
        'mismatch',
        `${problems.join('; ')}. Start once with provision: 'create', or align the declarations.`,
      )
  }

  [REQUIRE_TABLES](): Promise<void> {
    const { sql, schema } = this.#options
    return requireMigrated(sql, schema, TRANSPORT_PART)
  }

  /** @throws TransportError */
  async #withTables(): Promise<void> {
    const { provision, sql, schema } = this.#options
    if (provision === 'none') return
    this.#migrated ??= provision === 'create' ? this.migrate() : requireMigrated(sql, schema, TRANSPORT_PART)
    try {
      await this.#migrated
    } catch (error) {
      this.#migrated = undefined
      throw toTransportError('make the tables', error, schema)
    }
    if (this.#isOfThisCluster) return
    const { database, tables } = this.#attached()
    const { rows } = await database.query<{ restored: boolean }>(
      'look at the log',
      `SELECT ${tables.isRestored}() AS restored`,
    )
    if (rows[0]?.restored === true) throw restored(schema)
    this.#isOfThisCluster = true
  }

  /** @throws TransportError */
  async #withTransactions(): Promise<void> {
    const { sql, transactionsOf, schema, requestTimeoutMs } = this.#options
    if (this.#isOneDatabase || transactionsOf === sql) return
    const { database, tables, host } = this.#attached()
    const transactions = new Database(transactionsOf, schema, host.clock, requestTimeoutMs)
    await requireOneDatabase(database, transactions, tables)
    this.#isOneDatabase = true
  }

  /** Also for a transport that no binder has. */
  #attachedOrOwn(): Pick<Parts, 'database' | 'tables'> {
    const { sql, schema, requestTimeoutMs } = this.#options
    if (this.#parts !== undefined) return this.#attached()
    return { database: new Database(sql, schema, systemClock, requestTimeoutMs), tables: transportTables(schema) }
  }

  #attached(): Parts {
    if (this.#closed !== undefined) throw failure('closed', CLOSED_TRANSPORT)
    if (this.#parts === undefined) throw notAttached()
    return this.#parts
  }
}

/** Where a subscription without a group begins. */
interface Ends extends LogPlace {
  readonly ends: ReadonlyArray<{ readonly source: AnonymousSource; readonly place: Place }>
}

interface Parts {
  readonly host: TransportHost
  readonly tables: ReturnType<typeof transportTables>
  readonly database: Database
  readonly directory: Directory
  readonly members: Members
  readonly session: Session
  readonly wakes: Wakes
  readonly delays: Delays
  readonly rotation: Rotation
  readonly publisher: Publisher
  /** Runs work that outlives its caller outside of the contexts that end with it. */
  readonly lasting: ReturnType<typeof lastingContext>
}

const restored = (schema: string): TransportError =>
  failure(
    'mismatch',
    `the log in schema "${schema}" comes from another cluster (a dump was restored): new messages would be invisible. ` +
      'Stop every process that uses it and call postgresTransport({ sql }).repair() once.',
  )

const notAttached = (): TransportError => failure('closed', 'attach the transport first: give it to createBinder')
