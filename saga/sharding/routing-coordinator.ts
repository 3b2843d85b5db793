/** Routes calls to the coordinators of the shards. */
import type { Binding } from '../../binder/bindings/declarations.ts'
import type { Channel } from '../../binder/channel/channel.ts'
import { invalidOption } from '../../core/errors.ts'
import { Lifecycle } from '../../core/lifecycle.ts'
import type { SqlTransaction } from '../../core/sql.ts'
import { type RunOptions, SagaCoordinator } from '../coordinator/coordinator.ts'
import type { GlobalTransaction } from '../coordinator/global-transaction.ts'
import { type OperatorNote, requireTarget, resolveFilter, type SagaTarget } from '../coordinator/operator-checks.ts'
import type { ResolvedOptions } from '../coordinator/options.ts'
import type { OutcomeOptions } from '../coordinator/outcome-waiters.ts'
import type { SagaOutcome, SagaReport, SagaRun } from '../coordinator/saga-run.ts'
import type { StartOptions } from '../coordinator/starter.ts'
import type { GlobalTransactionRunOptions } from '../coordinator/transaction-propagation.ts'
import type { Saga } from '../definition/saga-definition-types.ts'
import { parentById } from '../definition/saga-destinations.ts'
import { requireSagaId } from '../definition/saga-id.ts'
import { SagaError } from '../errors.ts'
import type { GlobalTransactionDefinition } from '../global/definition.ts'
import type { Stored } from '../json.ts'
import type { ListFilter, SagaKey } from '../store/store-types.ts'
import { type AnyHeaders, readTransaction } from '../wire/transaction-header.ts'
import { firstOutcome } from './first-outcome.ts'
import { KnownLayouts } from './known-layouts.ts'
import { layoutOf } from './layout.ts'
import { Locator } from './locator.ts'
import type { ResolvedSharding } from './options.ts'
import { ShardRunners } from './shard-runners.ts'
import { ShardTable } from './shard-table.ts'
import type { ShardedCoordinator, ShardedHealth, ShardedSummary } from './sharded-coordinator.ts'

export class RoutingCoordinator implements ShardedCoordinator {
  readonly instance: string
  readonly bindings: readonly Binding[]
  readonly channels: readonly Channel[]
  readonly #options: ResolvedSharding
  readonly #all: ReadonlyMap<string, SagaCoordinator>
  readonly #layouts: KnownLayouts
  readonly #locator: Locator
  readonly #drives: ShardRunners
  readonly #life = new Lifecycle(() => new SagaError('saga.closed'))

  constructor(options: ResolvedSharding) {
    const { shards, instance } = options
    this.#options = options
    const coordinatorOf = (name: string, shard: ResolvedOptions) =>
      new SagaCoordinator(shard, (...signal) => this.#locator.handOn(name, ...signal))
    this.#all = new Map([...shards].map(([name, shard]) => [name, coordinatorOf(name, shard)]))
    const tables = new Map([...shards].map(([name, shard]) => [name, new ShardTable(name, shard)]))
    this.#layouts = new KnownLayouts(tables)
    this.#locator = new Locator(this.#all, tables, this.#layouts)
    this.#drives = new ShardRunners(options, this.#all, this.#layouts)
    this.instance = instance
    const coordinators = [...this.#all.values()]
    this.bindings = Object.freeze(coordinators.flatMap(({ bindings }) => bindings))
    this.channels = Object.freeze([
      ...new Map(coordinators.flatMap(({ channels }) => channels).map((channel) => [channel.name, channel])).values(),
    ])
  }

  async migrate(): Promise<void> {
    for (const coordinator of this.#all.values()) await coordinator.migrate()
    await this.#layouts.migrate()
  }

  async run(options: RunOptions = {}): Promise<void> {
    this.#life.requireOpen()
    await this.#drives.run(options)
    this.#life.requireOpen()
  }

  async start<Results extends object>(
    first: SqlTransaction | Saga<unknown, unknown, Results>,
    second: unknown,
    third?: StartOptions<unknown>,
  ): Promise<SagaRun<Results>> {
    if ('inTransaction' in first) {
      const [saga, options] = [second as Saga<unknown, unknown, Results>, third as StartOptions<unknown>]
      return this.#locator.placeIn(first, this.#startKey(saga, options), (coordinator, mark, within) =>
        coordinator.startAt(mark, within, saga, options),
      )
    }
    const options = second as StartOptions<unknown>
    return this.#locator.place(this.#startKey(first, options), (coordinator, mark) =>
      coordinator.startAt(mark, undefined, first, options),
    )
  }

  async globalTransaction<In, Out, Result>(
    definition: GlobalTransactionDefinition<In, Out>,
    options: GlobalTransactionRunOptions<In>,
    code: (global: GlobalTransaction) => Result | Promise<Result>,
  ): Promise<Stored<Result>> {
    return this.#locator.place(this.#keyOf('globalTransaction', definition, options), (coordinator, mark) =>
      coordinator.globalTransactionAt(mark, definition, options, code),
    )
  }

  async inheritTransaction<T>(headers: AnyHeaders, work: () => T | Promise<T>): Promise<T> {
    this.#life.requireOpen()
    const { service } = readTransaction(headers) ?? {}
    const named = [...this.#options.shards].find(([, shard]) => shard.service === service)?.[0]
    const [any] = this.#all.values()
    // No shard has it: any of them throws the error.
    const coordinator = (named === undefined ? any : this.#all.get(named)) as SagaCoordinator
    return coordinator.inheritTransaction(headers, work)
  }

  get<In, Out, Results extends object>(saga: Saga<In, Out, Results>, id: string): SagaRun<Results> {
    const key = { name: saga.name, id }
    return Object.freeze({
      saga: saga.name,
      id,
      outcome: (options?: OutcomeOptions) => this.#outcome(saga, id, options),
      report: async () => (await this.#locator.around(key)).get(saga, id).report(),
    })
  }

  async #outcome<In, Out, Results extends object>(
    saga: Saga<In, Out, Results>,
    id: string,
    options?: OutcomeOptions,
  ): Promise<SagaOutcome<Results>> {
    const holder = await this.#locator.find({ name: saga.name, id })
    if (holder !== undefined) return holder.get(saga, id).outcome(options)
    const runs = [...this.#all.values()].map((coordinator) => coordinator.get(saga, id))
    return firstOutcome(runs, options)
  }

  async signal<In, Out, Results extends object>(
    saga: Saga<In, Out, Results>,
    id: string,
    step: keyof Results & string,
    payload: unknown,
  ): Promise<boolean> {
    this.#life.requireOpen()
    const coordinator = await this.#locator.around({ name: saga.name, id: requireSagaId('signal', id) })
    return coordinator.signal(saga, id, step, payload)
  }

  async list(filter: ListFilter = {}): Promise<readonly ShardedSummary[]> {
    const { limit } = resolveFilter(filter)
    const lists = await Promise.all(
      [...this.#all].map(async ([shard, coordinator]) =>
        (await coordinator.list(filter)).map((line) => ({ ...line, shard })),
      ),
    )
    return lists.flat().toSorted(byAge).slice(0, limit)
  }

  async report(target: SagaTarget): Promise<SagaReport> {
    return (await this.#having('report', target)).report(target)
  }

  async cancel(target: SagaTarget, note: OperatorNote): Promise<void> {
    await (await this.#having('cancel', target)).cancel(target, note)
  }

  async retry(target: SagaTarget, note: OperatorNote): Promise<void> {
    await (await this.#having('retry', target)).retry(target, note)
  }

  async skip(target: SagaTarget, note: OperatorNote & { readonly result?: unknown }): Promise<void> {
    await (await this.#having('skip', target)).skip(target, note)
  }

  async compensate(target: SagaTarget, note: OperatorNote): Promise<void> {
    await (await this.#having('compensate', target)).compensate(target, note)
  }

  async resolve(
    target: SagaTarget,
    note: OperatorNote & { readonly outcome: 'completed' | 'compensated' },
  ): Promise<void> {
    await (await this.#having('resolve', target)).resolve(target, note)
  }

  async purge(options: { readonly olderThanMs: number }): Promise<number> {
    const counts = await Promise.all([...this.#all.values()].map((coordinator) => coordinator.purge(options)))
    return counts.reduce((sum, count) => sum + count, 0)
  }

  async shardOf(target: SagaTarget): Promise<string> {
    return this.#locator.shardOf(requireTarget('shardOf', target))
  }

  async useShards(names: readonly string[]): Promise<void> {
    this.#life.requireOpen()
    if (!Array.isArray(names) || names.length === 0) throw invalidOption('useShards', names, 'the names of shards')
    await this.#layouts.use(layoutOf(names))
  }

  health(): ShardedHealth {
    return this.#drives.health(this.#life.isClosed)
  }

  close(): Promise<void> {
    return this.#life.close(() => this.#drives.close())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** @throws `saga.not_found` */
  async #having(action: string, target: SagaTarget): Promise<SagaCoordinator> {
    this.#life.requireOpen()
    const key = requireTarget(action, target)
    const found = await this.#locator.find(key)
    if (found === undefined) throw new SagaError('saga.not_found', { saga: key.name, id: key.id })
    return found
  }

  /**
   * @throws `saga.conflict` for the id of a sub-saga: its parent would begin it on another shard, and no database would see both
   */
  #startKey(saga: { readonly name: string }, options: StartOptions<unknown>): SagaKey {
    const key = this.#keyOf('start', saga, options)
    const [any] = this.#options.shards.values()
    const parent = parentById(key, any?.sagas ?? [])
    if (parent === undefined) return key
    const problem = `has the id of a step of saga "${parent}", which starts it on its own shard: use another id`
    throw new SagaError('saga.conflict', { saga: key.name, id: key.id, problem })
  }

  #keyOf(call: string, saga: { readonly name: string }, options: { readonly id: string }): SagaKey {
    this.#life.requireOpen()
    return { name: saga?.name, id: requireSagaId(`${call}("${saga?.name}").id`, options?.id) }
  }
}

function byAge(a: ShardedSummary, b: ShardedSummary): number {
  if (a.createdAt !== b.createdAt) return a.createdAt - b.createdAt
  const [left, right] = [
    [a.name, a.id],
    [b.name, b.id],
  ].map((key) => key.join('\0')) as [string, string]
  return left < right ? -1 : 1
}
