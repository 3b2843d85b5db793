import { type Clock, SECOND } from '../../../core/clock.ts'
import { LastHeard } from '../../transport/kit/last-heard.ts'
import { type AmqpConnection, heartbeatMsOf, onTraffic } from './amqplib-types.ts'

/**
 * Tells whether the broker may have given up this connection. The broker does so after one to two heartbeats without a sign of
 * life, and itself sends one every half of that: a connection on which nothing was received for a heartbeat belongs to an
 * unavailable broker, or to a process that was suspended. Data in the socket may then be from before, so only a reply to a new
 * request counts.
 */
export class ConnectionLiveness {
  readonly #heard: LastHeard
  readonly #limitMs: number
  #isInDoubt = false

  constructor(connection: AmqpConnection, clock: Clock) {
    this.#heard = new LastHeard(clock)
    this.#limitMs = heartbeatMsOf(connection)
    onTraffic(connection, () => {
      if (this.isCertain()) this.#heard.heard()
    })
  }

  /** Checked before a message is handled. Once false, it stays so until `answered`. */
  isCertain(): boolean {
    this.#isInDoubt ||= !this.#heard.isCertain(this.#limitMs)
    return !this.#isInDoubt
  }

  /** How long nothing was received, for people. */
  get silence(): string {
    return `${Math.round(this.#heard.silentMs / SECOND)} s`
  }

  /** The broker replied to a request that was sent after the doubt. */
  answered(): void {
    this.#isInDoubt = false
    this.#heard.heard()
  }
}

const assurances = new WeakMap<AmqpConnection, ConnectionLiveness>()

/** The liveness shared by all subscriptions on this connection. */
export function assuranceOf(connection: AmqpConnection, clock: Clock): ConnectionLiveness {
  let assurance = assurances.get(connection)
  if (assurance === undefined) assurances.set(connection, (assurance = new ConnectionLiveness(connection, clock)))
  return assurance
}
