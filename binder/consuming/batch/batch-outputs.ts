import { readable } from '../../../core/thrown-values.ts'
import type { BatchBinding } from '../../bindings/declarations.ts'
import type { BatchOutcome } from '../../bindings/handler-types.ts'
import type { ResolvedConsumer } from '../../bindings/resolve-options.ts'
import type { EncodedMessage } from '../../channel/message.ts'
import { callKeepingHeaders, type HandlerResult, outputsIn } from '../../sending/ambient-headers.ts'
import { encodeOutputs, outputIds } from '../../sending/encode-outputs.ts'
import type { Failures } from '../failure/failures.ts'
import type { HandlingDependencies } from '../handling-dependencies.ts'
import { type BatchWorkItem, type ItemResult, lineOf } from './batch-work-items.ts'
import { isOutcome } from './check-batch-outcomes.ts'
import { byKey } from './split-batch.ts'

/** Outputs of each message of a batch. */
export type BatchOutput = ReadonlyMap<BatchWorkItem, readonly EncodedMessage[]>

/** Sends the outputs of a batch handler, for each message separately: a failed send is a failure of that message. */
export class BatchOutputs {
  readonly #binding: BatchBinding
  readonly #options: ResolvedConsumer
  readonly #dependencies: HandlingDependencies
  readonly #failures: Failures
  readonly #keyOf: (item: BatchWorkItem) => string | null

  constructor(
    binding: BatchBinding,
    options: ResolvedConsumer,
    dependencies: HandlingDependencies,
    failures: Failures,
  ) {
    this.#binding = binding
    this.#options = options
    this.#dependencies = dependencies
    this.#failures = failures
    this.#keyOf = lineOf(options)
  }

  /** Calls the handler such that its result is known together with the headers of its context. */
  make(handler: () => unknown): Promise<HandlerResult> {
    return callKeepingHeaders(
      this.#binding.output === undefined ? undefined : this.#dependencies.ambient,
      handler,
      payloadsIn,
    )
  }

  /** Encodes each message's outputs. A message whose outputs cannot be encoded has failed. */
  async encode(
    items: readonly BatchWorkItem[],
    outcomes: ReadonlyArray<BatchOutcome> | undefined,
    made: HandlerResult,
    results: Map<BatchWorkItem, ItemResult>,
  ): Promise<BatchOutput> {
    const outputs = new Map<BatchWorkItem, readonly EncodedMessage[]>()
    if (this.#binding.output === undefined || outcomes === undefined) return outputs
    await Promise.all(
      items.map(async (item, i) => {
        const outcome = outcomes[i]
        if (outcome?.status !== 'fulfilled' || outcome.value === undefined) return
        try {
          outputs.set(item, await this.#encodeOne(item, { ...made, value: outcome.value }))
        } catch (error) {
          results.set(item, { error: readable(error) })
        }
      }),
    )
    return outputs
  }

  #encodeOne({ delivery }: BatchWorkItem, made: HandlerResult): Promise<EncodedMessage[]> {
    const idOf = outputIds(delivery.message, this.#options.group)
    return encodeOutputs(made, this.#binding.output, this.#dependencies, idOf)
  }

  /** Resolves when the outputs of all `handled` messages are confirmed. */
  async send(
    items: readonly BatchWorkItem[],
    outputs: BatchOutput,
    results: Map<BatchWorkItem, ItemResult>,
  ): Promise<void> {
    if (outputs.size === 0) return
    await Promise.all(byKey(items, this.#keyOf).map((ofKey) => this.#sendKey(ofKey, outputs, results)))
  }

  /**
   * Sends up to the first failure that delays the messages behind it, because these are passed again, and must not overtake it.
   * If a refused output would also delay the rest, sends one message after the other.
   */
  async #sendKey(
    items: readonly BatchWorkItem[],
    outputs: BatchOutput,
    results: Map<BatchWorkItem, ItemResult>,
  ): Promise<void> {
    const holdsUp = (item: BatchWorkItem): boolean => this.#holdsUp(item, results)
    const together = this.#options.onFailure === 'halt' ? 1 : items.length
    for (let i = 0; i < items.length; i += together) {
      const next = items.slice(i, i + together)
      const end = next.findIndex(holdsUp)
      const free = end === -1 ? next : next.slice(0, end)
      await this.#sendTogether(free, outputs, results)
      const held = items.slice(0, i + together).findIndex(holdsUp)
      if (held === -1) continue
      for (const item of items.slice(held)) if (results.get(item) === 'handled') results.set(item, 'undone')
      return
    }
  }

  /** Sends in order, even if the broker was unavailable. */
  async #sendTogether(
    items: readonly BatchWorkItem[],
    outputs: BatchOutput,
    results: Map<BatchWorkItem, ItemResult>,
  ): Promise<void> {
    const messages = items
      .filter((item) => results.get(item) === 'handled')
      .flatMap((item) => (outputs.get(item) ?? []).map((message) => ({ item, message })))
    if (messages.length === 0) return
    const ends = await this.#failures.sends.each(
      messages.map(({ message }) => message),
      messages.map(({ item }) => item.delivery),
    )
    for (const [i, { item }] of messages.entries()) {
      const error = ends[i]
      if (error !== undefined) results.set(item, { error })
    }
  }

  #holdsUp(item: BatchWorkItem, results: Map<BatchWorkItem, ItemResult>): boolean {
    const result = results.get(item)
    return typeof result === 'object' && this.#failures.holdsUp(item.delivery, result.error, item.attempt)
  }
}

/** Returns the payloads in the outcomes of a batch, or in some of them that left a context. */
function payloadsIn(value: unknown): readonly unknown[] {
  if (isOutcome(value)) return 'value' in value ? outputsIn(value.value) : []
  if (!Array.isArray(value) || !value.every(isOutcome)) return outputsIn(value)
  return value.flatMap(payloadsIn)
}
