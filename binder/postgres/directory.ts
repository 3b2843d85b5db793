import { counted } from '../../core/counted.ts'
import type { SqlExecutor } from '../../core/sql.ts'
import { partitionMismatch, type TransportError } from '../errors.ts'
import type { DestinationSpec } from '../transport/transport.ts'
import type { Database } from './database.ts'
import { failure, TRANSPORT } from './failure.ts'
import type { KnownDestination } from './publisher.ts'
import type { TransportTables } from './tables.ts'

/** What there is in the tables: destinations with their partitions, groups with their numbers. Rows, so no rights to create. */
export class Directory {
  readonly #database: Database
  readonly #tables: TransportTables
  readonly #known: Map<string, KnownDestination> = new Map()
  /** Hold dead letters. */
  readonly #deadLetters: Set<string> = new Set()

  constructor(database: Database, tables: TransportTables) {
    this.#database = database
    this.#tables = tables
  }

  /** Makes what is missing. @throws TransportError `mismatch` when a destination has other partitions */
  async create(spec: DestinationSpec): Promise<void> {
    const { rows } = await this.#database.query<{ id: number }>(`provision "${spec.name}"`, ...this.#provision(spec))
    this.#learn(
      spec,
      rows.map(({ id }) => id),
    )
  }

  /**
   * As `create`, for somebody in the middle of a transaction.
   * @param sql the transaction, on a database with one connection: it is made if that commits, and not learned before
   */
  async make(spec: DestinationSpec, sql?: SqlExecutor): Promise<KnownDestination | undefined> {
    if (sql === undefined) {
      await this.create(spec)
      return this.#known.get(spec.name)
    }
    const { rows } = await sql.query<{ id: number }>(...this.#provision(spec))
    return { parts: rows.map(({ id }) => id), takesAnySize: false }
  }

  #provision(spec: DestinationSpec): readonly [text: string, parameters: readonly unknown[]] {
    return [
      `SELECT id, n FROM ${this.#tables.provision}($1, $2, $3::text[], $4::bigint)`,
      [spec.name, spec.partitions, [...spec.groups], spec.retentionMs ?? null],
    ]
  }

  /** @returns what is missing or does not fit, one line each */
  async check(spec: DestinationSpec): Promise<readonly string[]> {
    const parts = await this.#partsOf(spec.name)
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
    if (spec.assumed !== true && parts.length !== spec.partitions)
      problems.push(`"${spec.name}" has ${counted(parts.length, 'partition')}, ${spec.partitions} are declared`)
    if (problems.length === 0) this.#learn(spec, parts)
    return problems
  }

  /**
   * Looks for it unless it is known.
   * @param sql the caller's transaction, where another connection may not be waited for @throws TransportError
   */
  find(destination: string, sql?: SqlExecutor): Promise<KnownDestination | undefined> | KnownDestination | undefined {
    return this.#known.get(destination) ?? this.#look(destination, sql)
  }

  /** The number of a group. @throws TransportError `unavailable` when it does not exist: it may be made later */
  async group(destination: string, name: string): Promise<number> {
    const { rows } = await this.#database.query<{ id: number }>(
      `look for the group "${name}" of "${destination}"`,
      `SELECT id FROM ${this.#tables.group} WHERE destination = $1 AND name = $2`,
      [destination, name],
    )
    const [found] = rows
    if (found !== undefined) return found.id
    throw failure('unavailable', `"${destination}" has no group "${name}": provision it, or use provision: 'create'`, {
      destination,
    })
  }

  async #look(destination: string, sql?: SqlExecutor): Promise<KnownDestination | undefined> {
    const parts = await this.#partsOf(destination, sql)
    if (parts.length === 0) return undefined
    const known = { parts, takesAnySize: this.#deadLetters.has(destination) }
    this.#known.set(destination, known)
    return known
  }

  async #partsOf(destination: string, sql?: SqlExecutor): Promise<readonly number[]> {
    const text = `SELECT id FROM ${this.#tables.partition} WHERE destination = $1 ORDER BY n`
    const { rows } = await (sql === undefined
      ? this.#database.query<{ id: number }>(`look for "${destination}"`, text, [destination])
      : sql.query<{ id: number }>(text, [destination]))
    return rows.map(({ id }) => id)
  }

  #learn(spec: DestinationSpec, parts: readonly number[]): void {
    if (spec.assumed !== true && parts.length !== spec.partitions) throw mismatch(spec, parts.length)
    if (spec.deadLetters === true) this.#deadLetters.add(spec.name)
    this.#known.set(spec.name, { parts, takesAnySize: this.#deadLetters.has(spec.name) })
  }
}

function mismatch({ name, partitions }: DestinationSpec, existing: number): TransportError {
  const remedy = 'take another name for it and move the messages by a processor'
  return partitionMismatch(TRANSPORT, name, { existing, declared: partitions }, remedy)
}
