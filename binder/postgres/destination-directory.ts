import type { SqlExecutor, SqlTransaction } from '../../core/sql.ts'
import { partitionMismatch, type TransportError } from '../errors.ts'
import type { DestinationSpec } from '../transport/transport.ts'
import type { StatementRunner } from './statement-runner.ts'
import type { TransportTables } from './tables.ts'
import { failure, TRANSPORT } from './transport-errors.ts'

/** Partitions of a destination by their numbers in the tables. */
export interface KnownDestination {
  readonly parts: readonly number[]
  /** Table number of their log, which changes when the log is dropped and recreated. */
  readonly log: string
  /** Contains dead letters: accepts every message that was accepted before. */
  readonly takesAnySize: boolean
}

/** An existing group of a destination. */
export interface KnownGroup {
  readonly id: number
  /** Actual number of partitions of its destination. */
  readonly partitions: number
  /** See `KnownDestination.log`. */
  readonly log: string
}

interface PartitionRow {
  readonly id: number
  readonly log: string
}

/**
 * Content of the tables: destinations with their partitions, groups with their numbers. Rows, so no right to create tables is
 * needed.
 */
export class DestinationDirectory {
  readonly #database: StatementRunner
  readonly #tables: TransportTables
  readonly #known: Map<string, KnownDestination> = new Map()
  /** Destinations that this process has created. */
  readonly #made: Map<string, DestinationSpec> = new Map()
  /** Destinations with dead letters. */
  readonly #deadLetters: Set<string> = new Set()
  /** The log that was verified to belong to this cluster. */
  #log: string | undefined

  constructor(database: StatementRunner, tables: TransportTables) {
    this.#database = database
    this.#tables = tables
  }

  /**
   * @throws TransportError `mismatch` when a dump of another cluster was restored: readers of such a log would miss new messages
   */
  async requireOfThisCluster(tx?: SqlExecutor): Promise<void> {
    const { isRestored, ring } = this.#tables
    const text = `SELECT r.tableoid::text AS log, ${isRestored}() AS restored FROM ${ring} r`
    const [row] = await this.#ask<{ log: string; restored: boolean }>('look at the log', text, [], tx)
    if (row?.restored === true) throw restored(this.#database.schema)
    this.#log = row?.log
  }

  /** Creates missing rows. @throws TransportError `mismatch` when a destination has another number of partitions */
  async create(spec: DestinationSpec): Promise<void> {
    const { rows } = await this.#database.query<PartitionRow>(`provision "${spec.name}"`, ...this.#provision(spec))
    if (rows.length === 0) throw failure('mismatch', `the log has no ring: ${emptied('transport_ring')}`)
    this.#learn(spec, rows)
    const groups = new Set([...(this.#made.get(spec.name)?.groups ?? []), ...spec.groups])
    this.#made.set(spec.name, { ...spec, groups: [...groups] })
  }

  /** Returns the spec with which this process created a destination, to create it again when it is gone. */
  specOf(destination: string): DestinationSpec | undefined {
    return this.#made.get(destination)
  }

  /** Forgets everything that was looked up. */
  forget(): void {
    this.#known.clear()
  }

  /**
   * Same as `create`, for a caller within a transaction.
   * @param sql the transaction, on a database with one connection: the destination exists if it commits, and is not cached before
   */
  async make(spec: DestinationSpec, sql?: SqlExecutor): Promise<KnownDestination | undefined> {
    if (sql === undefined) {
      await this.create(spec)
      return this.#known.get(spec.name)
    }
    const { rows } = await sql.query<PartitionRow>(...this.#provision(spec))
    return this.#destination(spec.name, rows)
  }

  /** The ring has one row. `LIMIT` tells the planner, because PostgreSQL would compile the statement for many rows. */
  #provision(spec: DestinationSpec): readonly [text: string, parameters: readonly unknown[]] {
    const { provision, ring } = this.#tables
    return [
      `SELECT p.id, r.log FROM ${provision}($1, $2, $3::text[], $4::bigint) p
       CROSS JOIN (SELECT tableoid::text AS log FROM ${ring} LIMIT 1) r ORDER BY p.n`,
      [spec.name, spec.partitions, [...spec.groups], spec.retentionMs ?? null],
    ]
  }

  /**
   * @returns missing rows, one line each @throws TransportError `mismatch` when a destination has another number of partitions
   */
  async check(spec: DestinationSpec): Promise<readonly string[]> {
    const parts = await this.#partitionsOf(spec.name)
    if (parts.length === 0) return [`"${spec.name}" does not exist`]
    const { rows } = await this.#database.query<{ name: string }>(
      `look for the groups of "${spec.name}"`,
      `SELECT name FROM ${this.#tables.group} WHERE destination = $1`,
      [spec.name],
    )
    const existing = new Set(rows.map(({ name }) => name))
    const problems = spec.groups
      .filter((group) => !existing.has(group))
      .map((group) => `"${spec.name}" has no group "${group}"`)
    if (spec.assumed !== true && parts.length !== spec.partitions) throw mismatch(spec, parts.length)
    if (problems.length === 0) this.#learn(spec, parts)
    return problems
  }

  /**
   * Looks up a destination unless it is known.
   * @param tx the caller's transaction, if waiting for another connection is not allowed @throws TransportError
   */
  find(destination: string, tx?: SqlTransaction): Promise<KnownDestination | undefined> | KnownDestination | undefined {
    return this.#known.get(destination) ?? this.#look(destination, tx)
  }

  /**
   * @returns an error if the group cannot be read: `unavailable` if it may be created later, e.g. by `create`, otherwise
   * `mismatch`
   * @throws TransportError when the server does not answer
   */
  async group(destination: string, name: string): Promise<KnownGroup | TransportError> {
    const { group, partition, progress, tick, ring } = this.#tables
    const { rows } = await this.#database.query<KnownGroup & { readonly places: number; readonly numbered: number }>(
      `look for the group "${name}" of "${destination}"`,
      `SELECT g.id, r.tableoid::text AS log, count(p.id)::int AS partitions,
         count(place.ver)::int AS places, count(newest.first)::int AS numbered
       FROM ${group} g CROSS JOIN ${ring} r LEFT JOIN ${partition} p ON p.destination = g.destination
       LEFT JOIN LATERAL (SELECT x.ver FROM ${progress} x WHERE x.grp = g.id AND x.part = p.id ORDER BY x.ver DESC LIMIT 1) place ON true
       LEFT JOIN LATERAL (SELECT t.first FROM ${tick} t WHERE t.part = p.id ORDER BY t.first DESC LIMIT 1) newest ON true
       WHERE g.destination = $1 AND g.name = $2 GROUP BY 1, 2`,
      [destination, name],
    )
    const [found] = rows
    if (found !== undefined && found.numbered < found.partitions)
      return failure('mismatch', `the positions of "${destination}" are gone: ${emptied('transport_tick')}`, {
        destination,
      })
    if (found !== undefined && found.partitions > 0 && found.places === found.partitions) {
      await this.#adopt(found.log)
      return found
    }
    const lacks = found === undefined ? 'has no group' : 'has not all places of the group'
    const remedy = "provision it, or use provision: 'create'"
    return failure('unavailable', `"${destination}" ${lacks} "${name}": ${remedy}`, { destination })
  }

  /** Records that members of the group settle in their own transactions. @throws TransportError */
  async settlesIn(group: number): Promise<void> {
    const text = `UPDATE ${this.#tables.group} SET settles_in = true WHERE id = $1 AND NOT settles_in`
    await this.#database.query('remember how a group settles', text, [group])
  }

  /** Returns the groups of a destination whose members have settled in their own transactions. @throws TransportError */
  async settlingGroups(destination: string): Promise<readonly string[]> {
    const { rows } = await this.#database.query<{ name: string }>(
      `look how the groups of "${destination}" settle`,
      `SELECT name FROM ${this.#tables.group} WHERE destination = $1 AND settles_in ORDER BY id`,
      [destination],
    )
    return rows.map(({ name }) => name)
  }

  /** A transaction on the only connection may see its own uncommitted rows, which are not cached until it ends. */
  async #look(destination: string, tx?: SqlTransaction): Promise<KnownDestination | undefined> {
    const known = this.#destination(destination, await this.#partitionsOf(destination, tx))
    if (known === undefined) return undefined
    await this.#adopt(known.log, tx)
    if (tx === undefined || this.#database.sql.exclusive === undefined) this.#known.set(destination, known)
    else tx.afterCommit?.(() => void this.#look(destination).catch(NOTHING))
    return known
  }

  async #partitionsOf(destination: string, sql?: SqlExecutor): Promise<readonly PartitionRow[]> {
    const { partition, ring } = this.#tables
    const text = `SELECT p.id, r.tableoid::text AS log FROM ${partition} p CROSS JOIN ${ring} r WHERE p.destination = $1 ORDER BY p.n`
    return this.#ask<PartitionRow>(`look for "${destination}"`, text, [destination], sql)
  }

  /** Adopts a log; another log may replace the verified one while processes run. */
  async #adopt(log: string, tx?: SqlExecutor): Promise<void> {
    if (log !== this.#log) await this.requireOfThisCluster(tx)
  }

  async #ask<Row extends object>(
    what: string,
    text: string,
    parameters: readonly unknown[],
    sql?: SqlExecutor,
  ): Promise<readonly Row[]> {
    const { rows } = await (sql === undefined
      ? this.#database.query<Row>(what, text, parameters)
      : sql.query<Row>(text, parameters))
    return rows
  }

  #learn(spec: DestinationSpec, rows: readonly PartitionRow[]): void {
    if (spec.assumed !== true && rows.length !== spec.partitions) throw mismatch(spec, rows.length)
    if (spec.deadLetters === true) this.#deadLetters.add(spec.name)
    const known = this.#destination(spec.name, rows)
    if (known !== undefined) this.#known.set(spec.name, known)
  }

  #destination(name: string, rows: readonly PartitionRow[]): KnownDestination | undefined {
    const [first] = rows
    if (first === undefined) return undefined
    return { parts: rows.map(({ id }) => id), log: first.log, takesAnySize: this.#deadLetters.has(name) }
  }
}

/** Used by callers after which the next one looks up again. */
const NOTHING = (): void => {}

const emptied = (table: string): string =>
  `${table} was emptied. Restore the log, or stop every process that uses it and drop its tables: they are made again`

function mismatch({ name, partitions }: DestinationSpec, existing: number): TransportError {
  const remedy = 'take another name for it and move the messages by a processor'
  return partitionMismatch(TRANSPORT, name, { existing, declared: partitions }, remedy)
}

const restored = (schema: string): TransportError =>
  failure(
    'mismatch',
    `the log in schema "${schema}" comes from another cluster (a dump was restored): new messages would be invisible. ` +
      'Stop every process that uses it and call postgresTransport({ sql }).repair() once.',
  )
