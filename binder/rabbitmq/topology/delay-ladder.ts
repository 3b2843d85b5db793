/**
 * Delayed messages on RabbitMQ: a ladder of queues whose messages expire, one for each service.
 *
 * ```
 * concordat:delay:shop:level:24 ... :0   headers exchanges and quorum queues; a queue holds its messages 100 ms x 2^level
 * concordat:delay:shop:due               headers exchange: to the queue of the destination
 * concordat:delay:shop:due:orders        quorum queue, 1 ms: hands what is due to the exchange `orders`
 * concordat:delay:shop:settled[:orders]  exchanges that say: the queues of the ladder (of `orders`) are old enough
 * ```
 *
 * A ladder must not be shared by services with different accounts. RabbitMQ checks the right to write to `orders` when the
 * queue `...:due:orders` is declared, not when that queue forwards a message: every account that may write to a shared
 * ladder could name any destination for which another service has declared such a queue.
 *
 * A delay is rounded up to 100 ms and written as a binary number; each bit that is set is a header
 * `concordat-delay-<level>`. The message enters at its highest level. A level's exchange sends it into the level's queue
 * when its bit is set, else (alternate exchange) to the level below; what expires in a queue goes on to the level below
 * as well. All messages of a queue wait equally long, so none ever waits behind one that is due later, which a time to
 * live per message would bring about. The routing key is the partition all along.
 *
 * The queues are quorum queues with dead letter strategy `at-least-once`, whatever the type of the others: a message
 * leaves a level only after the next has confirmed it. Classic queues move what expires without a confirm, and a broker
 * that is killed in between can lose it. What is due and finds no queue stays in the queue of its destination.
 */
import { invalidOption } from '../../../core/errors.ts'
import { MAX_DELAY_MS } from '../../channel/delay.ts'
import { type Declaration, type ExchangeDeclaration, settledMark } from './declare.ts'
import { checked } from './topology-names.ts'

const UNIT_MS = 100
const LEVELS = 25
const HEADER = 'concordat-delay-'
const TO_HEADER = `${HEADER}to`

/** Where a message that is due in `leftMs` is published, and with which headers. */
export interface DelayRoute {
  readonly exchange: string
  readonly headers: Readonly<Record<string, string | boolean>>
}

/** The ladder of one service. Pure. */
export class DelayLadder {
  /** All its objects are named `<prefix>:...`, so that rights can be granted by prefix. */
  readonly prefix: string

  /** @param service a name without `:`, so that no ladder's names start with those of another */
  constructor(service: string) {
    this.prefix = `concordat:delay:${service}`
  }

  /** The queue that is declared last. */
  get topLevel(): string {
    return this.#level(LEVELS - 1)
  }

  /** Declared when the queues of the ladder have settled (`new-queue-settling.ts`). */
  get settled(): ExchangeDeclaration {
    return settledMark(`${this.prefix}:settled`)
  }

  /** Declared when the queue of a destination has settled. @throws TransportError for a name that is too long */
  dueSettled(destination: string): ExchangeDeclaration {
    return settledMark(checked(`${this.prefix}:settled:${destination}`, destination))
  }

  /** @throws RangeError if the delay exceeds the height of the ladder */
  route(destination: string, leftMs: number): DelayRoute {
    if (!(leftMs > 0 && leftMs <= MAX_DELAY_MS)) throw invalidOption('delay', leftMs, `1 to ${MAX_DELAY_MS} ms`)
    const units = Math.ceil(leftMs / UNIT_MS)
    const headers: Record<string, string | boolean> = { [TO_HEADER]: destination }
    let highest = 0
    for (let level = 0; level < LEVELS; level++) {
      if ((units & (1 << level)) === 0) continue
      headers[HEADER + level] = true
      highest = level
    }
    return { exchange: this.#level(highest), headers }
  }

  /** The ladder, from the bottom, so that every level has a target. */
  declarations(): readonly Declaration[] {
    const levels = Array.from({ length: LEVELS }, (_, level) => level)
    return [
      { kind: 'exchange', name: this.#due, type: 'headers', options: { durable: true } },
      ...levels.flatMap((level) => this.#levelDeclarations(level)),
    ]
  }

  /** Passes due messages to a destination on an exchange. @throws TransportError for a name that is too long */
  dueDeclaration(destination: string, exchange: string): Declaration {
    return {
      kind: 'queue',
      name: checked(`${this.#due}:${destination}`, destination),
      arguments: queueArguments(DUE_TTL_MS, exchange),
      exchange: this.#due,
      routingKey: '',
      headers: { 'x-match': 'all', [TO_HEADER]: destination },
    }
  }

  get #due(): string {
    return `${this.prefix}:due`
  }

  #level(level: number): string {
    return `${this.prefix}:level:${level}`
  }

  #levelDeclarations(level: number): readonly Declaration[] {
    const name = this.#level(level)
    const next = level === 0 ? this.#due : this.#level(level - 1)
    return [
      { kind: 'exchange', name, type: 'headers', options: { durable: true, alternateExchange: next } },
      {
        kind: 'queue',
        name,
        arguments: queueArguments(UNIT_MS * 2 ** level, next),
        exchange: name,
        routingKey: '',
        headers: { 'x-match': 'all', [HEADER + level]: true },
      },
    ]
  }
}

/** With 0, it would expire before it is stored. */
const DUE_TTL_MS = 1

function queueArguments(ttlMs: number, next: string): Record<string, string | number> {
  return {
    'x-queue-type': 'quorum',
    'x-message-ttl': ttlMs,
    'x-dead-letter-exchange': next,
    'x-dead-letter-strategy': 'at-least-once',
    'x-overflow': 'reject-publish',
  }
}
