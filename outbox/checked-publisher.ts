import type { EncodedMessage } from '../binder/channel/message.ts'
import { TransportError } from '../binder/errors.ts'
import type { PublishOutcome } from '../binder/transport/transport.ts'
import { hasCode, toError } from '../core/errors.ts'
import { wrongKind } from '../core/option-checks.ts'
import type { UnansweredCalls } from '../core/unanswered-calls.ts'
import { isJudged } from './publish-window.ts'

/** Publishes encoded messages; implemented by binders. */
export interface RelayPublisher {
  /**
   * Returns one outcome per message in the given order, `undefined` = confirmed and durable. Never rejects. A relay counts every
   * message of the call as not sent when this resolves with anything other than an array of that length, and a message whose
   * outcome is neither `undefined` nor a `TransportError`.
   */
  publish(messages: readonly EncodedMessage[]): Promise<readonly PublishOutcome[]>
}

const PATH = 'createRelay.publisher.publish'
const CONTRACT = 'undefined for each message that the broker has confirmed and a TransportError for any other'

/** Enforces the contract of a publisher, and reports calls that have not settled to `silence`. */
export class CheckedPublisher implements RelayPublisher {
  readonly #publisher: RelayPublisher
  readonly #silence: UnansweredCalls

  constructor(publisher: RelayPublisher, silence: UnansweredCalls) {
    this.#publisher = publisher
    this.#silence = silence
  }

  /** Never rejects. */
  async publish(messages: readonly EncodedMessage[]): Promise<readonly PublishOutcome[]> {
    try {
      const outcomes = await this.#silence.track(
        this.#call(messages),
        `publish: the promise of ${PATH} has not settled`,
      )
      return outcomesOf(messages, outcomes)
    } catch (cause) {
      const error = notSent(`the publisher rejected: ${toError(cause).message}`, cause)
      return messages.map(() => error)
    }
  }

  /** Rejects with errors that it throws. */
  #call(messages: readonly EncodedMessage[]): Promise<unknown> {
    try {
      return Promise.resolve(this.#publisher.publish(messages))
    } catch (error) {
      return Promise.reject(error as Error)
    }
  }
}

function outcomesOf(messages: readonly EncodedMessage[], outcomes: unknown): readonly PublishOutcome[] {
  if (!Array.isArray(outcomes) || outcomes.length !== messages.length) {
    const error = againstContract(messages.length, outcomes)
    return messages.map(() => error)
  }
  for (const outcome of outcomes) if (outcome !== undefined) return Array.from(outcomes, outcomeOf)
  return outcomes
}

function againstContract(length: number, outcomes: unknown): TransportError {
  const expected = `a promise of an array of ${length}: ${CONTRACT}`
  return Array.isArray(outcomes)
    ? notSent(`${PATH}: expected ${expected}, got an array of ${outcomes.length}`)
    : notSent(wrongKind(PATH, outcomes, expected).message)
}

function outcomeOf(outcome: unknown): PublishOutcome {
  if (outcome === undefined || isTransportError(outcome)) return outcome
  return notSent(wrongKind(PATH, outcome, `an array of outcomes: ${CONTRACT}`).message, outcome)
}

/** Also recognises errors of another copy of this package. */
function isTransportError(outcome: unknown): outcome is TransportError {
  return outcome instanceof Error && hasCode(outcome, 'binder.transport') && isJudged(outcome)
}

function notSent(message: string, cause?: unknown): TransportError {
  return new TransportError({ transport: 'publisher', kind: 'unavailable', message, cause })
}
