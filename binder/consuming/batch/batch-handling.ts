import { turnsOf } from '../../../core/event-loop-turns.ts'
import type { BatchBinding } from '../../bindings/declarations.ts'
import type { ResolvedConsumer } from '../../bindings/resolve-options.ts'
import { isRedriveMark } from '../../channel/id-namespace.ts'
import { decodePayload } from '../../channel/message-codec.ts'
import type { ConsumerName } from '../../telemetry/metrics.ts'
import type { TransportDelivery } from '../../transport/transport.ts'
import { AllWithdrawnSignal } from '../failure/all-withdrawn-signal.ts'
import { Failures, type HandlingEnd } from '../failure/failures.ts'
import type { HandlingDependencies } from '../handling-dependencies.ts'
import type { Permit } from '../pace/circuit-breaker.ts'
import { FREE } from '../pace/pace.ts'
import { BatchCall } from './batch-call.ts'
import { BatchJudge, type SettleOne } from './batch-judge.ts'
import {
  type BatchWorkItem,
  type ItemFailure,
  type ItemResult,
  type ItemResults,
  lineOf,
  readAgain,
} from './batch-work-items.ts'
import { partsOf, trialOf, undoneAlone, without, withoutRepeats } from './split-batch.ts'

const ANY = Number.POSITIVE_INFINITY

/**
 * Handles one batch: decodes each message, and calls the handler with the remaining ones until none remains. Each message is
 * settled on its own, as soon as its outcome is known; per key in order. Never rejects.
 */
export class BatchHandling {
  readonly #binding: BatchBinding
  readonly #dependencies: HandlingDependencies
  readonly #failures: Failures
  readonly #handler: BatchCall
  readonly #consumer: ConsumerName
  readonly #keyOf: ReturnType<typeof lineOf>
  readonly #judge: BatchJudge

  constructor(binding: BatchBinding, options: ResolvedConsumer, dependencies: HandlingDependencies) {
    this.#binding = binding
    this.#dependencies = dependencies
    this.#failures = new Failures(options, dependencies)
    this.#handler = new BatchCall(binding, options, dependencies, this.#failures)
    this.#consumer = { destination: binding.input.name, group: options.group }
    this.#keyOf = lineOf(options)
    this.#judge = new BatchJudge(options, this.#failures)
  }

  async handle(deliveries: readonly TransportDelivery[], settle: SettleOne): Promise<void> {
    const decoded = await Promise.all(deliveries.map((delivery, index) => this.#decode(delivery, index)))
    const stopped = new Set<string>()
    const items: BatchWorkItem[] = []
    for (const [i, delivery] of deliveries.entries()) {
      const key = this.#keyOf({ delivery })
      const item = key !== null && stopped.has(key) ? 'returned' : decoded[i]
      if (typeof item === 'object') items.push(item)
      else {
        const end = item ?? 'returned'
        settle(delivery, end)
        // An unsettled message must not be overtaken by others with its key.
        if (key !== null && (end === 'returned' || end === 'halted')) stopped.add(key)
      }
    }
    await this.#run(items, settle)
  }

  /** Returns the item, or its end without a call. */
  async #decode(delivery: TransportDelivery, index: number): Promise<BatchWorkItem | HandlingEnd> {
    if (delivery.signal.aborted) return 'returned'
    if (isRedriveMark(delivery.message)) return 'discarded'
    const before = this.#failures.attemptsBefore(delivery)
    const lost = this.#failures.takenAwayTooOften(delivery, before)
    if (lost !== undefined) return this.#failures.fail(delivery, lost, before)
    try {
      const payload = await decodePayload(this.#binding.input, delivery.message)
      const together = this.#failures.mustBeAlone(delivery) ? 1 : ANY
      return { delivery, payload, index, attempt: before + 1, trials: 0, wasCalled: false, together }
    } catch (error) {
      this.#dependencies.telemetry?.unreadable(delivery, this.#consumer, error)
      return this.#failures.fail(delivery, error, before)
    }
  }

  /** Calls the handler with the remaining messages until each has ended. */
  async #run(items: readonly BatchWorkItem[], settle: SettleOne, isRepeated = false): Promise<void> {
    let left = items
    let isFree = false
    let halvings = 0
    for (let isAgain = isRepeated; left.length > 0; isAgain = true) {
      const permit = await this.#enter(left, isAgain, isFree)
      left = this.#stillOurs(left, permit !== undefined, settle)
      if (permit === undefined) return
      if (left.length === 0) {
        this.#dependencies.pace?.abandoned(permit)
        return
      }
      const { now, later } = permit.isTrial
        ? trialOf(left, this.#keyOf)
        : this.#binding.options.inbox !== undefined
          ? withoutRepeats(left)
          : { now: left, later: [] }
      this.#dependencies.pace?.repeated(now.filter(({ wasCalled }) => wasCalled).length)
      await readAgain(
        this.#binding.input,
        now.filter(({ wasCalled }) => wasCalled),
      )
      for (const item of now) item.wasCalled = true
      const results = await this.#call(now, settle)
      isFree = this.#note(now, results, permit)
      const undone = undoneAlone(now, results, this.#keyOf)
      // Rolled-back messages follow at once: without the failed ones, in their own transaction.
      await this.#run(undone, settle, true)
      const apart = this.#takeApart(now, results)
      const judged = this.#judge.judge(without(without(now, undone), apart), results, settle, isFree)
      if (apart.length > 0) await this.#pauseApart(apart, results, ++halvings)
      left = [...(await judged), ...apart, ...later].toSorted((a, b) => a.index - b.index)
    }
  }

  /**
   * Makes as many calls as are needed because of messages that failed as a whole, or were withdrawn, before. No call is made
   * behind a failure of its key. Settles each handled message at once, unless an earlier one with its key failed: the next call
   * may lose the place.
   */
  async #call(items: readonly BatchWorkItem[], settle: SettleOne): Promise<ItemResults> {
    const parts = partsOf(items)
    const turns = turnsOf(this.#dependencies.clock)
    if (parts.length === 1 && !turns.isDue()) return this.#handler.make(items)
    const results = new Map<BatchWorkItem, ItemResult>()
    const failed = new Set<string>()
    const mayCall = (item: BatchWorkItem): boolean => {
      const key = this.#keyOf(item)
      const isBehind = key !== null && failed.has(key)
      return !isBehind && !this.#dependencies.stopping.aborted && !this.#failures.gone(item.delivery)
    }
    for (const part of parts) {
      // Settled messages reach the broker in a turn of the event loop.
      if (part.some(({ delivery }) => this.#failures.mustBeAlone(delivery))) await turns.next()
      while (turns.isDue()) await turns.next()
      const now = part.filter(mayCall)
      const made = now.length === 0 ? undefined : await this.#handler.make(now)
      for (const item of part) {
        const result = made?.get(item) ?? 'undone'
        results.set(item, result)
        const key = this.#keyOf(item)
        if (result !== 'handled') {
          if (key !== null) failed.add(key)
        } else if (key === null || !failed.has(key)) settle(item.delivery, 'handled')
      }
    }
    return results
  }

  async #pauseApart(items: readonly BatchWorkItem[], results: ItemResults, halvings: number): Promise<void> {
    const failures = new Set(items.map((item) => results.get(item) as ItemFailure))
    const later = [...failures].find(({ apart }) => apart === 'later')
    const [first] = failures
    await this.#failures.apart(items, (later ?? first)?.error, halvings, later !== undefined)
  }

  /** Halves the next call of messages that may have failed because of another. */
  #takeApart(items: readonly BatchWorkItem[], results: ItemResults): readonly BatchWorkItem[] {
    const failures = new Map<ItemFailure, BatchWorkItem[]>()
    for (const item of items) {
      const result = results.get(item)
      if (typeof result !== 'object' || result.apart === undefined) continue
      if (this.#failures.gone(item.delivery) || this.#failures.isAway(item.delivery, result.error)) continue
      failures.set(result, [...(failures.get(result) ?? []), item])
    }
    for (const part of failures.values()) for (const item of part) item.together = Math.ceil(part.length / 2)
    return [...failures.values()].flat()
  }

  /** Returns `undefined` if the handler may not be called: the binding stops, or all messages were withdrawn. */
  async #enter(
    items: readonly BatchWorkItem[],
    isAgain: boolean,
    hasFailedTrial: boolean,
  ): Promise<Permit | undefined> {
    const { pace, stopping } = this.#dependencies
    if (isAgain && stopping.aborted) return undefined
    if (pace === undefined) return FREE
    const loans = new AllWithdrawnSignal(items.map(({ delivery }) => delivery))
    try {
      const mayWait = (): AbortSignal => AbortSignal.any([stopping, loans.signal])
      return await pace.enter(0, mayWait, hasFailedTrial)
    } finally {
      loans.dispose()
    }
  }

  /** Returns the messages that may be passed to the handler; the others are redelivered. */
  #stillOurs(items: readonly BatchWorkItem[], mayCall: boolean, settle: SettleOne): readonly BatchWorkItem[] {
    const isOurs = ({ delivery }: BatchWorkItem): boolean => mayCall && !this.#failures.gone(delivery)
    if (items.every(isOurs)) return items
    return items.filter((item) => {
      if (isOurs(item)) return true
      settle(item.delivery, 'returned')
      return false
    })
  }

  /** Reports to the breaker. @returns true if it was a failed trial, which is not an attempt */
  #note(items: readonly BatchWorkItem[], results: ItemResults, permit: Permit): boolean {
    const { pace } = this.#dependencies
    const errors = [...results.values()].flatMap((result) => (typeof result === 'string' ? [] : [result.error]))
    const [first] = items
    if (pace === undefined || first === undefined) return false
    const wasCalled = [...results.values()].some((result) => result !== 'undone')
    if (errors.length < items.length) {
      if (wasCalled) pace.succeeded(permit)
      else pace.abandoned(permit)
      return false
    }
    const isGone = items.every(({ delivery }) => this.#failures.gone(delivery))
    return pace.threw(permit, errors[0], isGone, first.delivery.message)
  }
}
