import { lastingContext } from '../../core/async-contexts.ts'
import type { Clock } from '../../core/clock.ts'
import { toError } from '../../core/errors.ts'
import { Queue } from '../../core/queue.ts'
import type { EncodedMessage } from '../channel/message.ts'
import { TransportError } from '../errors.ts'
import { PublishHealth } from './publish-health.ts'
import type { PublishOutcome, PublishUntil, Transport, TransportHealth } from './transport.ts'

const MAX_BATCH = 1_000
/** How much later than that of the first a deadline of one call may be, of the time that is left: the first holds for all. */
const SPREAD = 0.1

interface Job {
  readonly messages: readonly EncodedMessage[]
  readonly deadline: number
  readonly resolve: (outcomes: readonly PublishOutcome[]) => void
}

/**
 * Sends to one of the transports of `combineTransports`: as many `publish` calls as it allows, in the order given. What comes in while it
 * is busy goes out together.
 */
export class PublishLane {
  readonly #transport: Transport
  readonly #answered: PublishHealth
  readonly #clock: Clock
  readonly #waiting: Queue<Job> = new Queue()
  /** A call carries what several sent: it is made under the locks and in the transaction of none of them. */
  readonly #outside: <T>(work: () => T) => T = lastingContext()
  #open = 0

  constructor(transport: Transport, clock: Clock) {
    this.#transport = transport
    this.#clock = clock
    this.#answered = new PublishHealth(transport, clock)
  }

  health(): TransportHealth {
    return this.#answered.health()
  }

  /** Returns one outcome per message, in order; never rejects. */
  publish(messages: readonly EncodedMessage[], until: PublishUntil = {}): Promise<readonly PublishOutcome[]> {
    return new Promise((resolve) => {
      this.#waiting.push({ messages, deadline: until.deadline ?? Number.POSITIVE_INFINITY, resolve })
      this.#pump()
    })
  }

  #pump(): void {
    while (this.#waiting.length > 0 && this.#open < this.#transport.publishConcurrency) {
      this.#open++
      const jobs = this.#take()
      void this.#outside(() => this.#publishNext(jobs))
    }
  }

  #take(): Job[] {
    const jobs: Job[] = []
    let count = 0
    const first = this.#waiting.peek()?.deadline ?? 0
    const leftMs = Math.max(0, first - this.#clock.monotonic())
    const fits = ({ deadline }: Job): boolean => deadline === first || Math.abs(deadline - first) <= SPREAD * leftMs
    for (let next = this.#waiting.peek(); next !== undefined; next = this.#waiting.peek()) {
      count += next.messages.length
      if (jobs.length > 0 && (count > MAX_BATCH || !fits(next))) break
      jobs.push(next)
      this.#waiting.shift()
    }
    return jobs
  }

  async #publishNext(jobs: readonly Job[]): Promise<void> {
    const messages = jobs.length === 1 ? (jobs[0]?.messages ?? []) : jobs.flatMap((job) => job.messages)
    const outcomes = await this.#outcomes(messages, Math.min(...jobs.map(({ deadline }) => deadline)))
    let from = 0
    for (const job of jobs) job.resolve(outcomes.slice(from, (from += job.messages.length)))
    this.#open--
    this.#pump()
  }

  async #outcomes(messages: readonly EncodedMessage[], deadline: number): Promise<readonly PublishOutcome[]> {
    try {
      return await this.#answered.publish(messages, { deadline })
    } catch (error) {
      // By contract it never rejects; if one does, callers must not wait forever.
      const { name: transport } = this.#transport
      const { message } = toError(error)
      const outcome = new TransportError({ transport, kind: 'unavailable', message, cause: error })
      return messages.map(() => outcome)
    }
  }
}
