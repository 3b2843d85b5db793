import type { Binder } from '../binder/binder.ts'
import type { HandlerContext } from '../binder/bindings/handler-contexts.ts'
import { type Clock, MINUTE } from '../core/clock.ts'
import { newId } from '../core/ids.ts'
import type { Logger } from '../core/logger.ts'
import { randomId } from '../core/random-id.ts'
import { finishesWithin } from '../core/time-limit.ts'
import { Trouble } from '../core/trouble.ts'
import { type Address, formatAddress } from './address.ts'
import type { BusChannel } from './channels.ts'
import { type PresenceEnvelope, type PresenceState, parsePresence, presenceHeaders, signedFields } from './envelope.ts'
import type { Guard } from './guard.ts'
import { Roster } from './roster.ts'
import type { Signer } from './signature.ts'

export interface PresenceHost {
  readonly address: Address
  readonly channel: BusChannel
  readonly clock: Clock
  readonly logger: Logger
  readonly guard: Guard
  readonly signer: Signer
  readonly heartbeatMs: number
  readonly missedHeartbeats: number
  readonly maxSkewMs: number
  /** Strictly rising, epoch ms. */
  nextTime(): number
}

/** Time within which a new instance learns the others; a publisher that has just started waits for it. */
export const ROLL_CALL_MS = 500
/** On an unsigned bus, claimed pauses between announcements are capped at this many of ours, or a minute. */
const SLOWEST = 12
const GOODBYE_MS = 2_000
const BODY = Buffer.from('{}')

/** Says hello, here I am, goodbye, and hears the others. */
export class Presence {
  readonly #host: PresenceHost
  readonly #trouble: Trouble
  readonly #roster: Roster
  readonly #session = randomId()
  readonly #sender: string
  #binder: Binder | undefined
  #cancelReply: (() => void) | undefined
  #hasLeft = false
  #twinHeardAt = Number.NEGATIVE_INFINITY
  /**
   * Epoch ms, by the clock of another process with our address. Earlier announcements are of a process that had the address before us, or
   * are replays.
   */
  #twinTime = Number.POSITIVE_INFINITY

  constructor(host: PresenceHost) {
    this.#host = host
    this.#sender = formatAddress(host.address)
    this.#trouble = new Trouble(host.logger, 'bus: could not announce this instance')
    const { missedHeartbeats: missed, heartbeatMs, maxSkewMs, signer } = host
    // A signed announcement may be as slow as it claims; its time exposes a replay for as long as such a claim is accepted.
    const claims = signer.isOn
      ? { rememberMs: 2 * maxSkewMs }
      : { maxIntervalMs: Math.max(1 * MINUTE, SLOWEST * heartbeatMs) }
    this.#roster = new Roster({ missed, ...claims })
  }

  /** Another process says that it has our address. */
  get hasTwin(): boolean {
    const { clock, heartbeatMs, missedHeartbeats } = this.#host
    return clock.monotonic() - this.#twinHeardAt < heartbeatMs * missedHeartbeats
  }

  /** The others. */
  live(): readonly Address[] {
    return this.#roster.live()
  }

  /** @throws SendError */
  async hello(binder: Binder): Promise<void> {
    this.#binder = binder
    if (this.#twinTime === Number.POSITIVE_INFINITY) this.#twinTime = this.#host.clock.now()
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
    await finishesWithin(this.#host.clock, GOODBYE_MS, saying)
  }

  /** From the channel. */
  arrived(body: Uint8Array, context: HandlerContext): void {
    const presence = this.#host.guard.admit(parsePresence(context), body, context.id)
    if (presence === undefined) return
    const now = this.#host.clock.monotonic()
    if (presence.sender === this.#sender) this.#heardOwnAddress(presence, now)
    else this.#heardOther(presence, now)
  }

  #heardOwnAddress({ session, state, time }: PresenceEnvelope, now: number): void {
    const { logger } = this.#host
    if (session === this.#session) {
      for (const address of this.#roster.ownHeard(now)) logger.warn({ address }, 'bus: instance is gone')
      return
    }
    if (state === 'left' || time <= this.#twinTime) return
    this.#twinTime = time
    if (!this.hasTwin)
      logger.error({ address: this.#sender }, 'bus: another process has this address; give each its own `instance`')
    this.#twinHeardAt = now
  }

  #heardOther(presence: PresenceEnvelope, now: number): void {
    const heard = this.#roster.heard(presence, now)
    if (heard === 'joined' || heard === 'left')
      this.#host.logger.info({ address: presence.sender }, `bus: instance ${heard}`)
    if (presence.state === 'hello' && heard !== 'stale') this.#replySoon()
  }

  /** Answers all simultaneous hellos at once, with a random delay among instances. */
  #replySoon(): void {
    if (this.#cancelReply !== undefined || this.#binder === undefined || this.#hasLeft) return
    this.#cancelReply = this.#host.clock.setTimer((Math.random() * ROLL_CALL_MS) / 4, () => {
      this.#cancelReply = undefined
      void this.beat()
    })
  }

  async #say(state: PresenceState): Promise<void> {
    const { address, channel, signer, heartbeatMs } = this.#host
    const sender = this.#sender
    const said = { sender, state, session: this.#session, intervalMs: heartbeatMs, signature: undefined }
    const [id, time] = [newId(), this.#host.nextTime()]
    const signature = signer.sign(signedFields({ ...said, kind: 'presence', id, time, from: address }), BODY)
    await this.#binder?.send(channel, BODY, { id, time, headers: presenceHeaders({ ...said, signature }) })
  }
}
