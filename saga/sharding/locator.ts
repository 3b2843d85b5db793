/** Finds the shard of a saga, and the shard that starts it. */
import { lastingContext } from '../../core/async-contexts.ts'
import { hasCode } from '../../core/errors.ts'
import type { SqlTransaction } from '../../core/sql.ts'
import type { SagaCoordinator } from '../coordinator/coordinator.ts'
import { SagaError } from '../errors.ts'
import type { SagaKey, SagaSignal } from '../store/store-types.ts'
import { ShardingError } from './errors.ts'
import type { KnownLayouts } from './known-layouts.ts'
import type { ShardTable } from './shard-table.ts'

/** Starts a saga; without a mark it only finds an existing one. */
type WorkIn<T> = (coordinator: SagaCoordinator, mark: string | undefined, tx: SqlTransaction | undefined) => Promise<T>

/** Maximum number of tries: a layout rarely changes during a start, and hardly ever repeatedly. */
const MAX_TRIES = 5

export class Locator {
  readonly #all: ReadonlyMap<string, SagaCoordinator>
  readonly #tables: ReadonlyMap<string, ShardTable>
  readonly #layouts: KnownLayouts

  constructor(
    all: ReadonlyMap<string, SagaCoordinator>,
    tables: ReadonlyMap<string, ShardTable>,
    layouts: KnownLayouts,
  ) {
    this.#all = all
    this.#tables = tables
    this.#layouts = layouts
  }

  /**
   * Starts a saga on its shard, or finds it. Repeats while the layout changes.
   * @throws the error of `work`; `saga.shards_mismatch`
   */
  async place<T>(
    key: SagaKey,
    work: (coordinator: SagaCoordinator, mark: string | undefined) => Promise<T>,
  ): Promise<T> {
    for (let tries = 1; ; tries++) {
      const { home, older, mark } = await this.#layouts.place(key.id)
      const holder = await this.#firstWith(older, key)
      try {
        return await (holder === undefined ? work(this.#on(home), mark) : work(this.#on(holder), undefined))
      } catch (error) {
        if (!hasCode(error, 'saga.shards_changed') || tries === MAX_TRIES) throw error
        await this.#layouts.catchUp(holder ?? home)
      }
    }
  }

  /**
   * Same for a start within the caller's transaction. Tried once, because a refused statement ends that transaction.
   * @param work receives the transaction if it belongs to the coordinator's database
   * @throws `saga.other_shard` when the saga belongs on another database; the error of `work`
   */
  async placeIn<T>(tx: SqlTransaction, key: SagaKey, work: WorkIn<T>): Promise<T> {
    const layouts = this.#layouts
    const tables = this.#tables
    if (layouts.newest === undefined)
      throw new ShardingError('saga.shards_mismatch', { message: 'call run() before the first start in a transaction' })
    const { home, older, mark } = await layouts.place(key.id)
    const here = (await tables.get(home)?.readIn(tx))?.name
    if (here !== home) {
      const isThere = here !== undefined && older.includes(here) && (await this.#on(here).has(key, tx))
      if (!isThere) throw new ShardingError('saga.other_shard', { saga: key.name, id: key.id, shard: home, here })
      return work(this.#on(here), undefined, tx)
    }
    // Two schemas of one database share its only connection, which the transaction holds.
    const txOf = (name: string) => (tables.get(name)?.sql === tables.get(home)?.sql ? tx : undefined)
    const holder = await this.#firstWith(older, key, txOf)
    if (holder !== undefined) return work(this.#on(holder), undefined, txOf(holder))
    try {
      return await work(this.#on(home), mark, tx)
    } catch (error) {
      // For the next start. Not awaited: with one connection it runs after the transaction.
      if (hasCode(error, 'saga.shards_changed')) lastingContext()(() => layouts.catchUp(home)).catch(() => {})
      throw error
    }
  }

  /** Returns the shard that has the saga, or would start it. */
  async shardOf(key: SagaKey): Promise<string> {
    return (await this.#find(key)) ?? (await this.#layouts.place(key.id)).home
  }

  /** Returns the coordinator of that shard. */
  async around(key: SagaKey): Promise<SagaCoordinator> {
    return this.#on(await this.shardOf(key))
  }

  /** Returns the coordinator that drives the saga; `undefined`: no shard has it. */
  async find(key: SagaKey): Promise<SagaCoordinator | undefined> {
    const name = await this.#find(key)
    return name === undefined ? undefined : this.#on(name)
  }

  /**
   * Delivers a signal whose saga is not on this shard. Every shard reads the message, so only the id's shard under the first
   * layout looks for the saga; the others return false.
   * @param context of the message, for a shard that has not loaded the saga's version
   * @throws `saga.not_found` when no shard has the saga; the error of a shard that is unreachable
   */
  async handOn(shard: string, key: SagaKey, signal: SagaSignal, context: object | undefined): Promise<boolean> {
    if ((await this.#layouts.place(key.id)).first !== shard) return false
    const holder = await this.find(key)
    if (holder === undefined) throw new SagaError('saga.not_found', { saga: key.name, id: key.id })
    return holder.take(key, signal, context)
  }

  async #find(key: SagaKey): Promise<string | undefined> {
    for (;;) {
      const { home, older } = await this.#layouts.place(key.id)
      const homes = [...older, home]
      const holder = await this.#firstWith(homes, key)
      if (holder !== undefined) return holder
      // Another process may have changed the layout, and started the saga on a shard unknown here.
      if (await this.#layouts.look(home)) continue
      // A sub-saga is on the shard of its parent, whatever its own id.
      const others = [...this.#all.keys()].filter((name) => !homes.includes(name))
      const there = await Promise.all(others.map((name) => this.#on(name).has(key)))
      return others[there.indexOf(true)]
    }
  }

  /** @param txOf the open transaction to read in */
  async #firstWith(
    names: readonly string[],
    key: SagaKey,
    txOf?: (name: string) => SqlTransaction | undefined,
  ): Promise<string | undefined> {
    for (const name of names) if (await this.#on(name).has(key, txOf?.(name))) return name
    return undefined
  }

  #on(name: string): SagaCoordinator {
    return this.#all.get(name) as SagaCoordinator
  }
}
