import type { Clock } from '../../core/clock.ts'
import { Silence } from '../../core/silence.ts'
import type { EncodedMessage } from '../channel/message.ts'
import type { PublishOutcome, PublishUntil, Transport, TransportHealth } from './transport.ts'

/**
 * `publish` and `health` of one transport: a broker that takes messages and confirms none fails no call until their time is over, so a
 * call that waits for too long is reported. Messages that wait for room wait for their readers, and not for a broker that hangs.
 */
export class AnsweredPublishes {
  readonly #transport: Transport
  readonly #silence: Silence | undefined

  constructor(transport: Transport, clock: Clock) {
    this.#transport = transport
    this.#silence = transport.waitsForRoom === true ? undefined : new Silence(clock)
  }

  publish(messages: readonly EncodedMessage[], until: PublishUntil): Promise<readonly PublishOutcome[]> {
    const call = this.#transport.publish(messages, until)
    return this.#silence?.track(call, 'publish', hasAnswer) ?? call
  }

  health(): TransportHealth {
    const health = this.#transport.health()
    if (health.status === 'down') return health
    const silent = this.#silence?.error
    return silent === undefined ? health : { status: 'down', detail: `${this.#transport.name}: ${silent.message}` }
  }
}

function hasAnswer(outcomes: readonly PublishOutcome[]): boolean {
  return outcomes.some((outcome) => outcome?.kind !== 'timeout')
}
