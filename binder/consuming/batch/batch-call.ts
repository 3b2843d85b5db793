import { isAborted } from '../../../core/aborted-transaction.ts'
import { isOf } from '../../../core/define-error-class.ts'
import { turnsOf } from '../../../core/event-loop-turns.ts'
import { withFields } from '../../../core/logger.ts'
import { SqlCommitError, type SqlTransaction } from '../../../core/sql.ts'
import { readable } from '../../../core/thrown-values.ts'
import type { BatchBinding } from '../../bindings/declarations.ts'
import type { BatchItem, BatchTransactionContext } from '../../bindings/handler-types.ts'
import type { SpecOf } from '../../bindings/inbox.ts'
import type { ResolvedConsumer } from '../../bindings/resolve-options.ts'
import { sourceOf } from '../../channel/id-namespace.ts'
import type { EncodedMessage } from '../../channel/message.ts'
import { BinderError } from '../../errors.ts'
import type { ConsumerName } from '../../telemetry/metrics.ts'
import { DeliveryContext } from '../context.ts'
import { AllWithdrawnSignal } from '../failure/all-withdrawn-signal.ts'
import type { Failures } from '../failure/failures.ts'
import type { HandlingDependencies } from '../handling-dependencies.ts'
import { type BatchOutput, BatchOutputs } from './batch-outputs.ts'
import {
  type BatchWorkItem,
  type ItemFailure,
  type ItemResult,
  type ItemResults,
  readAgain,
} from './batch-work-items.ts'
import { checkOutcomes } from './check-batch-outcomes.ts'
import { without } from './split-batch.ts'

/** Thrown to roll back a batch's transaction. */
class RolledBack extends Error {}

/** A statement failed in a batch's transaction, so later errors of other messages are not about them. */
class Aborted extends Error {}

/** Transaction of a call with an inbox. */
interface Transaction {
  readonly tx: SqlTransaction
  /** Sends with the commit. */
  readonly emit: (outputs: readonly EncodedMessage[], specOf: SpecOf) => Promise<void>
}

/** A call of a batch handler until its outputs are confirmed, in a transaction if there is an inbox. */
export class BatchCall {
  readonly #binding: BatchBinding
  readonly #options: ResolvedConsumer
  readonly #dependencies: HandlingDependencies
  readonly #consumer: ConsumerName
  readonly #failures: Failures
  readonly #outputs: BatchOutputs

  constructor(
    binding: BatchBinding,
    options: ResolvedConsumer,
    dependencies: HandlingDependencies,
    failures: Failures,
  ) {
    this.#binding = binding
    this.#options = options
    this.#dependencies = dependencies
    this.#consumer = { destination: binding.input.name, group: options.group }
    this.#failures = failures
    this.#outputs = new BatchOutputs(binding, options, dependencies, failures)
  }

  /** Makes the call. @returns the result of each item; never rejects */
  async make(items: readonly BatchWorkItem[]): Promise<ItemResults> {
    const results = new Map<BatchWorkItem, ItemResult>()
    this.#dependencies.runningCalls.begin(results)
    try {
      if (this.#binding.options.inbox === undefined) await this.#attempt(items, results, undefined)
      else await this.#attemptInTransaction(items, results)
    } catch (thrown) {
      const error = readable(thrown)
      if (error instanceof RolledBack) return results
      const failure = items.length === 1 ? { error: causeOf(error) } : wholeFailure(error)
      for (const item of items) results.set(item, failure)
    } finally {
      this.#dependencies.runningCalls.end(results)
    }
    return results
  }

  async #attempt(
    items: readonly BatchWorkItem[],
    results: Map<BatchWorkItem, ItemResult>,
    transaction: Transaction | undefined,
  ): Promise<void> {
    const { telemetry } = this.#dependencies
    const deliveries = items.map(({ delivery }) => delivery)
    const loans = new AllWithdrawnSignal(deliveries)
    const work = async (): Promise<void> => {
      const context = this.#contextOf(loans, items.length, transaction?.tx)
      const made = await this.#outputs
        .make(() => this.#binding.handler(this.#view(items, transaction?.tx), context))
        .finally(() => this.#failures.handlerEnded(deliveries))
      const outcomes = checkOutcomes(this.#options.name, made.value, items.length)
      for (const [i, item] of items.entries()) {
        const outcome = outcomes?.[i]
        results.set(item, outcome?.status === 'rejected' ? { error: readable(outcome.reason) } : 'handled')
      }
      const outputs = await this.#outputs.encode(items, outcomes, made, results)
      if (transaction === undefined) await this.#outputs.send(items, outputs, results)
      else await this.#emit(items, outputs, results, transaction)
    }
    try {
      await (telemetry === undefined ? work() : telemetry.processBatch(deliveries, this.#consumer, work))
    } finally {
      loans.dispose()
    }
  }

  /** Adds outputs to the transaction, unless it is to be rolled back. */
  async #emit(
    items: readonly BatchWorkItem[],
    outputs: BatchOutput,
    results: ItemResults,
    { emit }: Transaction,
  ): Promise<void> {
    const messages = items.flatMap((item) => outputs.get(item) ?? [])
    if (messages.length === 0 || !items.every((item) => results.get(item) === 'handled')) return
    const { telemetry, destinations } = this.#dependencies
    await emit(telemetry?.created(messages) ?? messages, (destination) => destinations.spec(destination))
  }

  async #attemptInTransaction(items: readonly BatchWorkItem[], results: Map<BatchWorkItem, ItemResult>): Promise<void> {
    const group = this.#options.group ?? ''
    const names = items.map(({ delivery }) => {
      const { message } = delivery
      return { group, destination: message.destination, source: sourceOf(message), id: message.id, delivery }
    })
    let calls = 0
    await this.#binding.options.inbox?.processBatch?.(
      names,
      async (tx, fresh, emit) => {
        if (calls++ > 0) await readAgain(this.#binding.input, items)
        const unseen = new Set(fresh)
        const toHandle = items.filter((_, i) => unseen.has(i))
        for (const item of without(items, toHandle)) results.set(item, 'handled')
        if (toHandle.length === 0) return
        const turns = turnsOf(this.#dependencies.clock)
        while (turns.isDue()) await turns.next()
        this.#failures.requireHeld(toHandle.map(({ delivery }) => delivery))
        try {
          await this.#attempt(toHandle, results, { tx, emit })
        } catch (error) {
          throw (await isAborted(tx)) ? new Aborted('', { cause: error }) : error
        }
        const failures = toHandle.flatMap((item) => {
          const result = results.get(item)
          return typeof result === 'object' ? [result] : []
        })
        if (failures.length === 0) return
        if (items.length > 1 && (await isAborted(tx))) throw new Aborted('', { cause: failures[0]?.error })
        for (const item of toHandle) if (results.get(item) === 'handled') results.set(item, 'undone')
        throw new RolledBack()
      },
      this.#options,
    )
  }

  #view(items: readonly BatchWorkItem[], tx: SqlTransaction | undefined): ReadonlyArray<BatchItem<unknown>> {
    const { drain, handlerLogger } = this.#dependencies
    const scope = { group: this.#options.group, drain, handlerLogger }
    return Object.freeze(
      items.map(({ delivery, payload, attempt }) => {
        return Object.freeze({
          payload,
          context: new DeliveryContext(delivery, attempt, scope, tx),
        })
      }),
    )
  }

  #contextOf(loans: AllWithdrawnSignal, messages: number, tx: SqlTransaction | undefined): BatchTransactionContext {
    const { drain, handlerLogger } = this.#dependencies
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

const causeOf = (error: unknown): unknown => (error instanceof Aborted ? error.cause : error)

/** An invalid result of the handler fails the whole batch, because it would return the same for a part of it. */
function wholeFailure(error: unknown): ItemFailure {
  if (isOf(error, BinderError, 'binder.batch_outcomes')) return { error }
  const isUndone = error instanceof Aborted || error instanceof SqlCommitError
  return { error: causeOf(error), apart: isUndone ? 'now' : 'later' }
}
