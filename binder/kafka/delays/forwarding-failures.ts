import { type Clock, MINUTE, SECOND } from '../../../core/clock.ts'
import { isRetryable, toError } from '../../../core/errors.ts'
import type { Logger } from '../../../core/logger.ts'
import { TransportError } from '../../errors.ts'
import type { Stall } from '../../transport/transport.ts'
import { TRANSPORT } from '../errors.ts'
import { groupIdOf } from '../group/group-id-and-start-at.ts'
import { FORWARDERS } from '../wire/delay-topic.ts'

/** Time after which a failure that may be temporary is reported. */
const LASTING_MS = 30 * SECOND

/** Failing stage: joining the forwarders, reading delayed messages, or publishing due ones. */
export type Stage = 'place' | 'reading' | 'publishing'

/**
 * Reasons why the messages in one delay topic are not forwarded. Each is logged at first and once a minute, and reported to the
 * bindings that wait for the messages.
 */
export class ForwardingFailures {
  readonly #topic: string
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #stalled: (stall: Stall | undefined) => void
  readonly #reasons = new Map<Stage, Stall>()
  readonly #failing = new Map<Stage, { readonly since: number; toldAt: number | undefined }>()

  /** @param stalled called with the worst reason at each change, `undefined` when none remains */
  constructor(
    topic: string,
    { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
    stalled: (stall: Stall | undefined) => void,
  ) {
    this.#topic = topic
    this.#clock = clock
    this.#logger = logger
    this.#stalled = stalled
  }

  /** @param isPassing true: another process may forward the messages */
  failed(stage: Stage, error: unknown, isPassing = false): void {
    const isSaid = error instanceof TransportError && error.kind === 'refused'
    const failing = this.#failingAt(stage)
    const isLasting = isSaid || !isRetryable(error) || this.#clock.monotonic() - failing.since >= LASTING_MS
    if (isLasting) this.#put(stage, { reason: toError(error), isPassing })
    else this.#logger.debug({ topic: this.#topic, err: toError(error) }, 'could not forward delayed messages')
  }

  /** Logs that the stage works again, if its failure was logged. */
  worked(stage: Stage): void {
    const wasTold = this.#failing.get(stage)?.toldAt !== undefined
    this.#failing.delete(stage)
    if (wasTold) this.#logger.info({ topic: this.#topic }, 'delayed messages are forwarded again')
    this.ended(stage)
  }

  /** Reports the state of the subscription to the delay topic. */
  says(stall: Stall | undefined): void {
    if (stall === undefined) this.worked('reading')
    else this.#put('reading', stall)
  }

  /** Forgets the reason, because the subscription has ended. */
  ended(stage: Stage): void {
    if (this.#reasons.delete(stage)) this.#tell()
  }

  #failingAt(stage: Stage): { readonly since: number; toldAt: number | undefined } {
    const known = this.#failing.get(stage)
    if (known !== undefined) return known
    const failing = { since: this.#clock.monotonic(), toldAt: undefined }
    this.#failing.set(stage, failing)
    return failing
  }

  #put(stage: Stage, { reason: cause, isPassing }: Stall): void {
    const topic = this.#topic
    const message = `kafka: messages in "${topic}" are not forwarded by group "${groupIdOf(FORWARDERS, topic)}": ${cause.message}`
    const kind = cause instanceof TransportError ? cause.kind : 'unavailable'
    const reason = new TransportError({ transport: TRANSPORT, kind, destination: topic, message, cause })
    const failing = this.#failingAt(stage)
    const now = this.#clock.monotonic()
    if (failing.toldAt === undefined || now - failing.toldAt >= MINUTE) {
      failing.toldAt = now
      this.#logger[isRetryable(cause) ? 'warn' : 'error']({ topic, err: reason }, 'delayed messages wait')
    }
    this.#reasons.set(stage, { reason, isPassing })
    this.#tell()
  }

  #tell(): void {
    const all = [...this.#reasons.values()]
    this.#stalled(all.find(({ isPassing }) => !isPassing) ?? all[0])
  }
}
