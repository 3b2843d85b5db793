import { type Logger, withFields } from '../../core/logger.ts'
import type { SqlTransaction } from '../../core/sql.ts'
import type { BatchBinding, BatchItem, BatchOutcome, BatchTransactionContext } from '../batch.ts'
import type { ResolvedConsumer } from '../options.ts'
import type { BinderTelemetry, ConsumerName } from '../telemetry.ts'
import { type Item, type ItemResult, type ItemResults, without } from './batch-items.ts'
import { checkOutcomes } from './batch-outcomes.ts'
import { DeliveryContext } from './context.ts'
import { Loans } from './loans.ts'

export interface BatchCallHost {
  readonly telemetry: BinderTelemetry | undefined
  readonly handlerLogger: Logger
  /** Aborts when the drain ran out of time. */
  readonly drain: AbortSignal
}

/** Takes a batch's transaction back. */
class RolledBack extends Error {}

/** One call of a batch handler, in a transaction if there is an inbox. */
export class BatchCall {
  readonly #binding: BatchBinding
  readonly #options: ResolvedConsumer
  readonly #host: BatchCallHost
  readonly #consumer: ConsumerName

  constructor(binding: BatchBinding, options: ResolvedConsumer, host: BatchCallHost) {
    this.#binding = binding
    this.#options = options
    this.#host = host
    this.#consumer = { destination: binding.input.name, group: options.group }
  }

  /** What it made of each. A throw failed all of them; never rejects. */
  async make(items: readonly Item[]): Promise<ItemResults> {
    const results = new Map<Item, ItemResult>()
    try {
      if (this.#binding.options.inbox === undefined) await this.#attempt(items, results, undefined)
      else await this.#attemptInTransaction(items, results)
    } catch (error) {
      if (!(error instanceof RolledBack)) for (const item of items) results.set(item, { error })
    }
    return results
  }

  async #attempt(
    items: readonly Item[],
    results: Map<Item, ItemResult>,
    tx: SqlTransaction | undefined,
  ): Promise<void> {
    const { telemetry } = this.#host
    const deliveries = items.map(({ delivery }) => delivery)
    const loans = new Loans(deliveries)
    let outcomes: ReadonlyArray<BatchOutcome> | undefined
    const work = async (): Promise<void> => {
      const result = await this.#binding.handler(this.#view(items, tx), this.#context(loans, items.length, tx))
      outcomes = checkOutcomes(this.#options.name, result, items.length)
    }
    try {
      await (telemetry === undefined ? work() : telemetry.processBatch(deliveries, this.#consumer, work))
    } finally {
      loans.dispose()
    }
    for (const [i, item] of items.entries()) {
      const outcome = outcomes?.[i]
      results.set(item, outcome?.status === 'rejected' ? { error: outcome.reason } : 'handled')
    }
  }

  async #attemptInTransaction(items: readonly Item[], results: Map<Item, ItemResult>): Promise<void> {
    const group = this.#options.group ?? ''
    const names = items.map(({ delivery: { message } }) => {
      return { group, destination: message.destination, source: message.source, id: message.id }
    })
    await this.#binding.options.inbox?.processBatch?.(names, async (tx, fresh) => {
      const unseen = new Set(fresh)
      const toHandle = items.filter((_, i) => unseen.has(i))
      for (const item of without(items, toHandle)) results.set(item, 'handled')
      if (toHandle.length === 0) return
      await this.#attempt(toHandle, results, tx)
      if (toHandle.every((item) => results.get(item) === 'handled')) return
      for (const item of toHandle) if (results.get(item) === 'handled') results.set(item, 'undone')
      throw new RolledBack()
    })
  }

  #view(items: readonly Item[], tx: SqlTransaction | undefined): ReadonlyArray<BatchItem<unknown>> {
    const { drain, handlerLogger } = this.#host
    const { group } = this.#options
    return Object.freeze(
      items.map(({ delivery, payload, attempt }) => {
        return Object.freeze({
          payload,
          context: new DeliveryContext(delivery, attempt, group, drain, handlerLogger, tx),
        })
      }),
    )
  }

  #context(loans: Loans, messages: number, tx: SqlTransaction | undefined): BatchTransactionContext {
    const { drain, handlerLogger } = this.#host
    const { group } = this.#options
    const channel = this.#binding.input.name
    return {
      channel,
      group,
      get signal() {
        return AbortSignal.any([drain, loans.signal])
      },
      log: withFields(handlerLogger, { channel, group, messages }),
      get tx() {
        if (tx !== undefined) return tx
        throw new TypeError('context.tx: this binding has no inbox; give it one: { group, inbox }')
      },
    }
  }
}
