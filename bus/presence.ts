import type { Binder } from '../binder/binder.ts'
import type { HandlerContext } from '../binder/bindings/handler-types.ts'
import { MINUTE } from '../core/clock.ts'
import { newId } from '../core/ids.ts'
import { randomId } from '../core/random-id.ts'
import { RepeatedFailureLog } from '../core/repeated-failure-log.ts'
import { finishesWithin } from '../core/time-limit.ts'
import type { Address } from './address.ts'
import { type PresenceEnvelope, type PresenceState, parsePresence, presenceHeaders, signedFields } from './envelope.ts'
import { Roster } from './roster.ts'
import type { BusContext } from './shared-dependencies.ts'

/** Time within which a new instance learns about the others; a publisher that has just started waits for it. */
export const ROLL_CALL_MS = 500
/** On an unsigned bus, claimed pauses between announcements are capped at this many of ours, or a minute. */
const SLOWEST = 12
const GOODBYE_MS = 2_000
const BODY = Buffer.from('{}')

/** Announces this instance, its presence and its departure, and receives the announcements of others. */
export class Presence {
  readonly #context: BusContext
  readonly #trouble: RepeatedFailureLog
  readonly #roster: Roster
  readonly #session = randomId()
  #binder: Binder | undefined
  #cancelReply: (() => void) | undefined
  #hasLeft = false
  #twinHeardAt = Number.NEGATIVE_INFINITY
  /**
   * Epoch ms, by the clock of another process with the same address. Earlier announcements are replays, or of a previous process
   * with this address.
   */
  #twinTime = Number.POSITIVE_INFINITY

  constructor(context: BusContext) {
    this.#context = context
    this.#trouble = new RepeatedFailureLog(context.logger, 'bus: could not announce this instance')
    const { missedHeartbeats: missed, heartbeatMs, maxSkewMs, signer } = context
    // A signed announcement may be as slow as it claims; its time exposes a replay for as long as such a claim is accepted.
    const claims = signer.isOn
      ? { rememberMs: 2 * maxSkewMs }
      : { maxIntervalMs: Math.max(1 * MINUTE, SLOWEST * heartbeatMs) }
    this.#roster = new Roster({ missed, ...claims })
  }

  /** True if another process claims this address. */
  get hasTwin(): boolean {
    const { clock, heartbeatMs, missedHeartbeats } = this.#context
    return clock.monotonic() - this.#twinHeardAt < heartbeatMs * missedHeartbeats
  }

  /** Returns the other live instances. */
  live(): readonly Address[] {
    return this.#roster.live()
  }

  /** @throws SendError */
  async hello(binder: Binder): Promise<void> {
    this.#binder = binder
    if (this.#twinTime === Number.POSITIVE_INFINITY) this.#twinTime = this.#context.clock.now()
    await this.#say('hello')
  }

  /** Never rejects. */
  async beat(): Promise<void> {
    try {
      await this.#say('here')
      this.#trouble.over()
    } catch (error) {
      this.#trouble.failed(error)
    }
  }

  /** Sends the last announcement: a later "here" would make others wait for this instance. */
  async goodbye(): Promise<void> {
    this.#hasLeft = true
    this.#cancelReply?.()
    if (this.#binder === undefined) return
    const saying = this.#say('left').catch(() => {})
    await finishesWithin(this.#context.clock, GOODBYE_MS, saying)
  }

  /** Handles a message of the channel. */
  arrived(body: Uint8Array, context: HandlerContext): void {
    const presence = this.#context.guard.admit(parsePresence(context), body, context.id)
    if (presence === undefined) return
    const now = this.#context.clock.monotonic()
    if (presence.sender === this.#context.self) this.#heardOwnAddress(presence, now)
    else this.#heardOther(presence, now)
  }

  #heardOwnAddress({ session, state, time }: PresenceEnvelope, now: number): void {
    const { logger, self } = this.#context
    if (session === this.#session) {
      for (const address of this.#roster.ownHeard(now)) logger.warn({ address }, 'bus: instance is gone')
      return
    }
    if (state === 'left' || time <= this.#twinTime) return
    this.#twinTime = time
    if (!this.hasTwin)
      logger.error({ address: self }, 'bus: another process has this address; give each its own `instance`')
    this.#twinHeardAt = now
  }

  #heardOther(presence: PresenceEnvelope, now: number): void {
    const heard = this.#roster.heard(presence, now)
    if (heard === 'joined' || heard === 'left')
      this.#context.logger.info({ address: presence.sender }, `bus: instance ${heard}`)
    if (presence.state === 'hello' && heard !== 'stale') this.#replySoon()
  }

  /** Answers all simultaneous announcements at once, with a random delay among instances. */
  #replySoon(): void {
    if (this.#cancelReply !== undefined || this.#binder === undefined || this.#hasLeft) return
    this.#cancelReply = this.#context.clock.setTimer((Math.random() * ROLL_CALL_MS) / 4, () => {
      this.#cancelReply = undefined
      void this.beat()
    })
  }

  async #say(state: PresenceState): Promise<void> {
    const { address, self: sender, channels, signer, times, heartbeatMs } = this.#context
    const said = { sender, state, session: this.#session, intervalMs: heartbeatMs, signature: undefined }
    const [id, time] = [newId(), times.next()]
    const signature = signer.sign(signedFields({ ...said, kind: 'presence', id, time, from: address }), BODY)
    await this.#binder?.send(channels.presence, BODY, { id, time, headers: presenceHeaders({ ...said, signature }) })
  }
}
