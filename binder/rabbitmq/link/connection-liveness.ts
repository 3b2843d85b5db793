import { type Clock, SECOND } from '../../../core/clock.ts'
import { LastHeard } from '../../transport/kit/last-heard.ts'
import { type AmqpConnection, heartbeatMsOf, onTraffic } from './amqplib-types.ts'

/**
 * Whether the broker can have given this connection up. It does after one to two heartbeats without a sign of life, and sends
 * one itself every half of that: a connection on which nothing was heard for a heartbeat belongs to a broker that is away, or
 * to a process that stood still. What lies in the socket then may be from before, so only an answer to a new question counts.
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

  /** Asked before a message begins. Once false, it stays so until `answered`. */
  isCertain(): boolean {
    this.#isInDoubt ||= !this.#heard.isCertain(this.#limitMs)
    return !this.#isInDoubt
  }

  /** How long nothing was heard, for people. */
  get silence(): string {
    return `${Math.round(this.#heard.silentMs / SECOND)} s`
  }

  /** The broker answered a question that was asked after the doubt. */
  answered(): void {
    this.#isInDoubt = false
    this.#heard.heard()
  }
}

const assurances = new WeakMap<AmqpConnection, ConnectionLiveness>()

/** The assurance of all subscriptions on this connection. */
export function assuranceOf(connection: AmqpConnection, clock: Clock): ConnectionLiveness {
  let assurance = assurances.get(connection)
  if (assurance === undefined) assurances.set(connection, (assurance = new ConnectionLiveness(connection, clock)))
  return assurance
}
