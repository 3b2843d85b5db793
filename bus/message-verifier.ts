import { MINUTE } from '../core/clock.ts'
import type { Counters } from './counters.ts'
import { type Envelope, type ParseFailure, signedFields } from './envelope.ts'
import type { ResolvedBus } from './options.ts'
import type { Signer } from './signature.ts'

interface VerifierOptions extends Pick<ResolvedBus, 'clock' | 'maxSkewMs' | 'maxPayloadBytes'> {
  readonly signer: Signer
  readonly counters: Counters
  /** Address of this instance, whose own messages say nothing about its clock. */
  readonly self: string
}

/** How long a message refused because of its time is reported. Presence messages are more frequent. */
const REPORTED_MS = 1 * MINUTE

/** Checks every message of the bus, of any kind. A message that fails is dropped, counted and logged. */
export class MessageVerifier {
  readonly #options: VerifierOptions
  /** Monotonic time of the last genuine message of another instance. */
  #takenAt = Number.NEGATIVE_INFINITY
  #refused = { at: Number.NEGATIVE_INFINITY, sender: '', offMs: 0 }

  constructor(options: VerifierOptions) {
    this.#options = options
  }

  get isSigned(): boolean {
    return this.#options.signer.isOn
  }

  /** Returns the envelope if it is genuine. */
  admit<T extends Envelope>(parsed: T | ParseFailure, body: Uint8Array, messageId: string): T | undefined {
    const { counters, signer, maxPayloadBytes } = this.#options
    if (typeof parsed === 'string') {
      counters.dropped(parsed, { messageId })
      return undefined
    }
    const fields = { messageId, kind: parsed.kind, claimsToBe: parsed.sender }
    if (body.byteLength > maxPayloadBytes) {
      counters.dropped('too_large', { ...fields, bytes: body.byteLength })
      return undefined
    }
    const verdict = signer.check(signedFields(parsed), body, parsed.signature)
    if (verdict !== 'genuine') {
      counters.dropped(verdict, fields)
      return undefined
    }
    if (this.isStale(parsed.time)) {
      counters.dropped('stale', { ...fields, time: parsed.time })
      this.#refuse(parsed)
      return undefined
    }
    if (parsed.sender !== this.#options.self) this.#takenAt = this.#options.clock.monotonic()
    return parsed
  }

  #refuse({ sender, time }: Envelope): void {
    const { clock, self } = this.#options
    if (sender !== self) this.#refused = { at: clock.monotonic(), sender, offMs: time - clock.now() }
  }

  /** Reason why messages of others are refused, if one was refused because of its time within a minute and none was accepted. */
  get trouble(): string | undefined {
    const { clock, maxSkewMs } = this.#options
    const since = clock.monotonic() - REPORTED_MS
    const { at, sender, offMs } = this.#refused
    if (at < since || this.#takenAt >= since) return undefined
    const way = offMs < 0 ? 'behind' : 'ahead of'
    return (
      `signed messages are refused for their time, and none was taken for a minute: the last one, of ${sender}, was ${Math.round(Math.abs(offMs) / 1_000)} s ` +
      `${way} the clock here, maxSkewMs is ${maxSkewMs}. Set the clock here, or there`
    )
  }

  /** Only a signature makes the time reliable, and it matters only then: against replayed messages. */
  isStale(time: number): boolean {
    const { signer, clock, maxSkewMs } = this.#options
    return signer.isOn && Math.abs(clock.now() - time) > maxSkewMs
  }
}
