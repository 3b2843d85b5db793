import type { Clock } from '../../core/clock.ts'
import { UnansweredCalls } from '../../core/unanswered-calls.ts'
import type { EncodedMessage } from '../channel/message.ts'
import type { PublishOutcome, PublishUntil, Transport, TransportHealth } from './transport.ts'

/** How much too early a timer may fire. */
const EARLY_MS = 50

/**
 * `publish` and `health` of one transport. A broker may accept messages and never confirm them: each call then fails only at its
 * deadline, so health is `down` as soon as a call is unanswered for too long. Messages that wait for room do not count: they wait for
 * their readers.
 */
export class PublishHealth {
  readonly #transport: Transport
  readonly #clock: Clock
  readonly #silence: UnansweredCalls | undefined

  constructor(transport: Transport, clock: Clock) {
    this.#transport = transport
    this.#clock = clock
    this.#silence = transport.waitsForRoom === true ? undefined : new UnansweredCalls(clock)
  }

  publish(messages: readonly EncodedMessage[], until: PublishUntil): Promise<readonly PublishOutcome[]> {
    const call = this.#transport.publish(messages, until)
    return this.#silence?.track(call, 'publish', (outcomes) => this.#isAnswer(outcomes, until)) ?? call
  }

  /** A transport gives its reasons when the time is over. */
  #isAnswer(outcomes: readonly PublishOutcome[], { deadline = Number.POSITIVE_INFINITY }: PublishUntil): boolean {
    return outcomes.includes(undefined) || this.#clock.monotonic() < deadline - EARLY_MS
  }

  health(): TransportHealth {
    const health = this.#transport.health()
    if (health.status === 'down') return health
    const silent = this.#silence?.error
    return silent === undefined ? health : { status: 'down', detail: `${this.#transport.name}: ${silent.message}` }
  }
}
