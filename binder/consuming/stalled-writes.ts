import { type Clock, SECOND } from '../../core/clock.ts'
import { writeFault } from '../../core/write-fault.ts'
import type { EncodedMessage } from '../channel/message.ts'
import type { PublishOutcome, Stall, TransportDelivery } from '../transport/transport.ts'

/** Time after which blocked work is reported; a queue that is full for a moment, or a restarting server, is not. */
const LASTING_MS = 4 * SECOND

interface Refusal {
  readonly reason: Error
  /** On the monotonic clock. */
  readonly since: number
  readonly isTold: boolean
}

/**
 * Blocked writes of a binding: those that need an operator's right at once, and after some seconds those that a server refuses
 * for now or does not answer. Outputs, retries and dead letters are identified by their list of messages, and writes of handlers
 * by their delivery.
 */
export class StalledWrites {
  readonly #refusals = new Map<readonly EncodedMessage[] | TransportDelivery, Refusal>()
  readonly #clock: Clock
  readonly #onChange: (stall: Stall | undefined) => void

  constructor(clock: Clock, onChange: (stall: Stall | undefined) => void) {
    this.#clock = clock
    this.#onChange = onChange
  }

  /** Records the outcomes of a try that did not confirm all. A confirmed message is progress, and clears the reason. */
  heard(sending: readonly EncodedMessage[], outcomes: readonly PublishOutcome[]): void {
    const forOperator = outcomes.find((outcome) => outcome !== undefined && writeFault(outcome) === 'operator')
    const reason = forOperator ?? outcomes.find((outcome) => outcome?.retryable === true)
    if (forOperator === undefined && outcomes.includes(undefined)) this.over(sending)
    else if (reason !== undefined) this.waits(sending, reason)
  }

  /** Records why a write failed this time, and will be tried again. */
  waits(what: readonly EncodedMessage[] | TransportDelivery, reason: Error): void {
    const known = this.#refusals.get(what)
    const since = known?.since ?? this.#clock.monotonic()
    const isTold =
      known?.isTold === true || writeFault(reason) === 'operator' || this.#clock.monotonic() - since >= LASTING_MS
    const keepsReason = known?.isTold === true && writeFault(reason) !== 'operator'
    this.#refusals.set(what, { reason: keepsReason ? known.reason : reason, since, isTold })
    if (isTold) this.#tell()
  }

  /** Ends a send whose messages are all confirmed or given up, or a delivery that has ended. */
  over(sending: readonly EncodedMessage[] | TransportDelivery): void {
    if (this.#refusals.size === 0) return
    const known = this.#refusals.get(sending)
    this.#refusals.delete(sending)
    if (known?.isTold === true) this.#tell()
  }

  #tell(): void {
    for (const { reason, isTold } of this.#refusals.values())
      if (isTold) return this.#onChange({ reason, isPassing: false })
    this.#onChange(undefined)
  }
}
