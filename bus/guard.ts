import type { Clock } from '../core/clock.ts'
import type { Counters } from './counters.ts'
import { type Envelope, type ParseFailure, signedFields } from './envelope.ts'
import type { Signer } from './signature.ts'

export interface GuardOptions {
  readonly signer: Signer
  readonly counters: Counters
  readonly clock: Clock
  readonly maxSkewMs: number
  readonly maxPayloadBytes: number
}

/** What every message of the bus has to pass, of whatever kind. What does not is dropped, counted and logged. */
export class Guard {
  readonly #options: GuardOptions

  constructor(options: GuardOptions) {
    this.#options = options
  }

  get isSigned(): boolean {
    return this.#options.signer.isOn
  }

  /** The envelope if it may be believed. */
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
      return undefined
    }
    return parsed
  }

  /** Only a signature makes the time believable, and only then it matters: against a message that is played again. */
  isStale(time: number): boolean {
    const { signer, clock, maxSkewMs } = this.#options
    return signer.isOn && Math.abs(clock.now() - time) > maxSkewMs
  }
}
