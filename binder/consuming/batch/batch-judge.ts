import type { ResolvedConsumer } from '../../bindings/resolve-options.ts'
import type { TransportDelivery } from '../../transport/transport.ts'
import type { Failures, HandlingEnd } from '../failure/failures.ts'
import { type BatchWorkItem, type ItemResults, lineOf } from './batch-work-items.ts'
import { byKey } from './split-batch.ts'

/** Called by `handle` once per delivery, as soon as it has ended. */
export type SettleOne = (delivery: TransportDelivery, end: HandlingEnd) => void

/** Decides about the messages of a batch after a handler call, per key in order. */
export class BatchJudge {
  readonly #options: ResolvedConsumer
  readonly #failures: Failures
  readonly #keyOf: ReturnType<typeof lineOf>

  constructor(options: ResolvedConsumer, failures: Failures) {
    this.#options = options
    this.#failures = failures
    this.#keyOf = lineOf(options)
  }

  /** Settles each message with a known outcome. @returns the messages to pass again, after their pause */
  async judge(
    items: readonly BatchWorkItem[],
    results: ItemResults,
    settle: SettleOne,
    isFree: boolean,
  ): Promise<readonly BatchWorkItem[]> {
    const lines = byKey(items, this.#keyOf)
    const again = await Promise.all(lines.map((line) => this.#judgeLine(line, results, settle, isFree)))
    return again.flat()
  }

  /** Handles the messages of one key in order: messages behind one that is tried again, or is redelivered, follow it. */
  async #judgeLine(
    items: readonly BatchWorkItem[],
    results: ItemResults,
    settle: SettleOne,
    isFree: boolean,
  ): Promise<readonly BatchWorkItem[]> {
    for (const [i, item] of items.entries()) {
      const result = results.get(item) ?? 'undone'
      if (result === 'undone') return items.slice(i)
      if (result === 'handled') {
        settle(item.delivery, 'handled')
        continue
      }
      const end = await this.#failures.failed(item.delivery, result.error, item.attempt, isFree)
      if (end === undefined || end === 'again') {
        const again = items.slice(i)
        for (const each of again) {
          const own = results.get(each)
          if (typeof own !== 'object') continue
          if (isFree || this.#failures.isAway(each.delivery, own.error)) each.trials++
          // A message without a remaining attempt keeps its last one until the earlier messages are settled.
          else if (each.attempt < this.#options.maxAttempts) each.attempt++
        }
        return again
      }
      settle(item.delivery, end)
      if (end !== 'returned' && end !== 'halted') continue
      for (const { delivery } of items.slice(i + 1)) settle(delivery, 'returned')
      break
    }
    return []
  }
}
