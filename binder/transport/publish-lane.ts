import type { Clock } from '../../core/clock.ts'
import type { EncodedMessage } from '../channel/message.ts'
import { PublishBatches } from './publish-batches.ts'
import type { PublishOutcome, PublishUntil, Transport, TransportHealth } from './transport.ts'

interface LaneEntry {
  readonly message: EncodedMessage
  readonly deadline: number
  readonly settle: (outcome: PublishOutcome) => void
}

/** Sends to one of the transports of `combineTransports`: what several calls bring goes out together. */
export class PublishLane {
  readonly #batches: PublishBatches<LaneEntry>

  constructor(transport: Transport, clock: Clock) {
    this.#batches = new PublishBatches<LaneEntry>(transport, clock, {
      settle: ({ settle }, outcome) => settle(outcome),
    })
  }

  health(): TransportHealth {
    return this.#batches.health()
  }

  /** Returns one outcome per message, in order; never rejects. */
  publish(messages: readonly EncodedMessage[], until: PublishUntil = {}): Promise<readonly PublishOutcome[]> {
    const { deadline = Number.POSITIVE_INFINITY, onOutcome } = until
    return new Promise((resolve) => {
      const outcomes: PublishOutcome[] = messages.map(() => undefined)
      let open = messages.length
      if (open === 0) resolve(outcomes)
      for (const [index, message] of messages.entries()) {
        const settle = (outcome: PublishOutcome): void => {
          outcomes[index] = outcome
          onOutcome?.(index, outcome)
          if (--open === 0) resolve(outcomes)
        }
        this.#batches.push({ message, deadline, settle })
      }
      this.#batches.pump()
    })
  }
}
