/**
 * This process's knowledge of the layouts, and their changes.
 *
 * The process reads the databases when the coordinator starts, when one of them refuses a start, and when a saga is not found:
 * never during a start that succeeds. Layouts only grow, and all databases agree, some with a shorter history: a change is
 * decided in one database, the first by name of those that take sagas, and any process that finds another one behind updates it.
 */
import { isRetryable, toError } from '../../core/errors.ts'
import { ShardingError } from './errors.ts'
import { type Homes, homesOf, isFollowedBy, isSame, type Layout, type Layouts, layoutOf, namesIn } from './layout.ts'
import { markOf, type ShardTable } from './shard-table.ts'

/** Possible shards of a saga with this id, and its mark if it is started now. */
export interface MarkedHomes extends Homes {
  readonly mark: string
}

/** Maximum number of consecutive changes during one start. */
const MAX_LOOKS = 10

export class KnownLayouts {
  readonly #tables: ReadonlyMap<string, ShardTable>
  /** Number of layouts that each database was seen to have. */
  readonly #seen = new Map<string, number>()
  #layouts: Layouts | undefined

  constructor(tables: ReadonlyMap<string, ShardTable>) {
    this.#tables = tables
  }

  /** Shards that new sagas go to; `undefined`: no database has answered yet. */
  get newest(): Layout | undefined {
    return this.#layouts?.at(-1)
  }

  /**
   * Creates the tables, records in each database which shard it is, and finishes an interrupted change. @throws
   * `saga.shards_mismatch`
   */
  async migrate(): Promise<void> {
    const tables = [...this.#tables.values()]
    for (const table of tables) await table.migrate()
    for (const { name } of tables) await this.look(name)
    if (this.#layouts === undefined) await this.#first(tables)
    this.requireAll()
    for (const { name } of tables) await this.catchUp(name)
  }

  /**
   * Returns the first layout. If no database has sagas: all of them. A database with sagas is alone at first, so that these are
   * found; `useShards` adds the others.
   */
  async #first(tables: readonly ShardTable[]): Promise<void> {
    const used: string[] = []
    for (const table of tables) if (await table.hasSagas()) used.push(table.name)
    if (used.length > 1) {
      throw new ShardingError('saga.shards_mismatch', {
        message: `shards ${used.map((name) => `"${name}"`).join(' and ')} have sagas that were started without shards: one may, the others must be empty`,
      })
    }
    const layout = used.length === 1 ? used : layoutOf(this.#tables.keys())
    const [name = ''] = layout
    await this.#table(name).begin([layout], { empty: used.length === 0 })
    await this.look(name)
  }

  /**
   * Reads every database for the first time. Unavailable ones are allowed: they are read before anything depends on them.
   * @returns the error of each database that did not answer
   * @throws `saga.shards_mismatch`, `core.tables_missing`, `core.sql_version`; when none answers, the error of the first one
   */
  async open(): Promise<ReadonlyMap<string, Error>> {
    const away = new Map<string, Error>()
    await Promise.all(
      [...this.#tables.keys()].map(async (name) => {
        try {
          await this.look(name)
        } catch (error) {
          if (!isRetryable(error)) throw error
          away.set(name, toError(error))
        }
      }),
    )
    const [first] = away.values()
    if (away.size === this.#tables.size && first !== undefined) throw first
    this.requireAll()
    return away
  }

  /** @throws `saga.shards_mismatch` when a saga may be on a shard that this process does not have */
  requireAll(): void {
    if (this.#layouts === undefined)
      throw new ShardingError('saga.shards_mismatch', {
        message: 'no database was told that it is a shard: call migrate()',
      })
    for (const name of namesIn(this.#layouts)) this.#table(name)
  }

  /** Returns the current or future shard of a saga. Older shards remain possible, but take no new saga with this id. */
  async place(id: string): Promise<MarkedHomes> {
    if (this.#layouts === undefined) await this.open()
    for (let looks = 1; looks <= MAX_LOOKS; looks++) {
      const layouts = this.#layouts ?? []
      const { home, older, first } = homesOf(layouts, id)
      this.#table(home)
      for (const name of older) if ((this.#seen.get(name) ?? 0) < layouts.length) await this.catchUp(name)
      if (this.#layouts === layouts) return { home, older, first, mark: markOf(home, layouts) }
    }
    throw new ShardingError('saga.shards_changed', { what: 'the layout of the shards changes all the time' })
  }

  /** Reads the layouts of a database. @returns true when they have changed. @throws `saga.shards_mismatch` */
  async look(name: string): Promise<boolean> {
    const row = await this.#table(name).read()
    if (row === undefined) return false
    if (row.name !== name) {
      throw new ShardingError('saga.shards_mismatch', {
        message: `the database that was given for shard "${name}" is shard "${row.name}": its address is that of another one`,
      })
    }
    return this.#take(name, row.layouts)
  }

  /** Reads the layouts of a database, and adds the ones it lacks. */
  async catchUp(name: string): Promise<void> {
    await this.look(name)
    const layouts = this.#layouts ?? []
    const seen = this.#seen.get(name)
    if (seen === undefined) {
      await this.#table(name).begin(layouts, { empty: true })
      await this.look(name)
    } else if (seen < layouts.length) this.#take(name, await this.#table(name).extend(layouts))
  }

  /** Sends new sagas to these shards from now on. Resolves when every database has the layout. */
  async use(names: Layout): Promise<void> {
    for (const name of names) this.#table(name)
    for (const name of this.#tables.keys()) await this.look(name)
    this.requireAll()
    for (const name of this.#tables.keys()) await this.catchUp(name)
    const before = this.#layouts ?? []
    const newest = before.at(-1) ?? []
    const layout = layoutOf(names)
    if (isSame(newest, layout)) return
    const after = [...before, layout]
    const [decider = ''] = newest
    const decided = await this.#table(decider).extend(after, before)
    this.#take(decider, decided)
    if (!isFollowedBy(after, decided)) {
      throw new ShardingError('saga.shards_changed', {
        what: 'another layout of the shards was decided at the same time',
      })
    }
    for (const name of this.#tables.keys()) await this.catchUp(name)
  }

  #take(name: string, layouts: Layouts): boolean {
    const before = this.#layouts ?? []
    if (!isFollowedBy(before, layouts) && !isFollowedBy(layouts, before)) {
      throw new ShardingError('saga.shards_mismatch', {
        message: `shard "${name}" knows other layouts than the others, ${JSON.stringify(layouts)} and not ${JSON.stringify(before)}: two sets of shards have one database`,
      })
    }
    this.#seen.set(name, layouts.length)
    if (layouts.length <= before.length) return false
    this.#layouts = layouts
    return true
  }

  #table(name: string): ShardTable {
    const table = this.#tables.get(name)
    if (table !== undefined) return table
    const given = [...this.#tables.keys()].map((each) => `"${each}"`).join(', ')
    throw new ShardingError('saga.shards_mismatch', {
      message: `sagas may be on shard "${name}", and this process was given ${given} only: give it every shard there ever was`,
    })
  }
}
