import type { EncodedMessage } from '../../channel/message.ts'
import type { PublishOutcome, PublishUntil } from '../../transport/transport.ts'

/** A `publish` call: resolves when each of its messages has an outcome. */
export class PublishCall {
  readonly entries: readonly PublishEntry[]
  /** Total time limit of the call, for the text of a timeout. */
  readonly allowedMs: number
  /** Called once, before the call resolves. */
  onSettled: () => void = () => {}
  readonly #outcomes: PublishOutcome[]
  readonly #resolve: (outcomes: readonly PublishOutcome[]) => void
  readonly #onOutcome: PublishUntil['onOutcome']
  #open: number

  constructor(
    messages: readonly EncodedMessage[],
    allowedMs: number,
    resolve: (outcomes: readonly PublishOutcome[]) => void,
    onOutcome?: PublishUntil['onOutcome'],
  ) {
    this.#onOutcome = onOutcome
    this.allowedMs = allowedMs
    this.#resolve = resolve
    this.#open = messages.length
    this.#outcomes = messages.map(() => undefined)
    this.entries = messages.map((message, index) => new PublishEntry(message, index, this))
    if (messages.length === 0) resolve([])
  }

  settle(index: number, outcome: PublishOutcome): void {
    this.#outcomes[index] = outcome
    this.#onOutcome?.(index, outcome)
    if (--this.#open > 0) return
    this.onSettled()
    this.#resolve(this.#outcomes)
  }
}

/** A message in progress. */
export class PublishEntry {
  readonly message: EncodedMessage
  /** The exchange of its last write. */
  exchange: string
  routingKey = ''
  /** True after the first write to a channel: without a confirm, the outcome is then unknown. */
  sent = false
  /** The broker returned it because no queue matched. Its confirm still follows. */
  returned = false
  /** True for a message that may have caused the broker to close the channel. */
  suspect = false
  /** Its destination was missing and has been created again. */
  repaired = false
  settled = false
  readonly #index: number
  readonly #call: PublishCall

  constructor(message: EncodedMessage, index: number, call: PublishCall) {
    this.message = message
    this.exchange = message.destination
    this.#index = index
    this.#call = call
  }

  /** Only the first call has an effect. */
  settle(outcome: PublishOutcome): void {
    if (this.settled) return
    this.settled = true
    this.#call.settle(this.#index, outcome)
  }
}
