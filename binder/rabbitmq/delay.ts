/**
 * Delayed messages on RabbitMQ: a ladder of queues whose messages expire, shared by all services of a virtual host.
 *
 * ```
 * concordat:delay:level:24 ... :0   headers exchanges and quorum queues; a queue holds its messages 100 ms x 2^level
 * concordat:delay:due               headers exchange: to the queue of the destination
 * concordat:delay:due:orders        quorum queue, 1 ms: hands what is due to the exchange `orders`
 * ```
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
import { invalidOption } from '../../core/errors.ts'
import { MAX_DELAY_MS } from '../delay.ts'
import type { TopologyPart } from '../transport.ts'
import type { AmqpChannel } from './client.ts'
import { toTransportError } from './failure.ts'

const UNIT_MS = 100
const LEVELS = 25
const DUE = 'concordat:delay:due'
const HEADER = 'concordat-delay-'
const TO_HEADER = `${HEADER}to`

const levelOf = (level: number): string => `concordat:delay:level:${level}`
const below = (level: number): string => (level === 0 ? DUE : levelOf(level - 1))
export const TOP_LEVEL: string = levelOf(LEVELS - 1)
export const queueOfDue = (destination: string): string => `${DUE}:${destination}`

/**
 * How long a new queue is left alone before it is relied on. RabbitMQ (3.10, measured) registers a quorum queue on disk
 * half a second after it was declared; one that is killed before that has lost the queue's log and elects no leader again.
 */
export const SETTLE_MS = 2_500

/** Where a message that is due in `leftMs` is published to, and with which headers. */
export interface DelayRoute {
  readonly exchange: string
  readonly headers: Readonly<Record<string, string | boolean>>
}

/** @throws RangeError when it is further away than the ladder is high */
export function delayRoute(destination: string, leftMs: number): DelayRoute {
  if (!(leftMs > 0 && leftMs <= MAX_DELAY_MS)) throw invalidOption('delay', leftMs, `1 to ${MAX_DELAY_MS} ms`)
  const units = Math.ceil(leftMs / UNIT_MS)
  const headers: Record<string, string | boolean> = { [TO_HEADER]: destination }
  let highest = 0
  for (let level = 0; level < LEVELS; level++) {
    if ((units & (1 << level)) === 0) continue
    headers[HEADER + level] = true
    highest = level
  }
  return { exchange: levelOf(highest), headers }
}

/** Makes the ladder exist, from the bottom, so that every step has somewhere to go. @throws TransportError */
export async function declareLadder(channel: AmqpChannel): Promise<void> {
  await step('declare the exchange of what is due', () => channel.assertExchange(DUE, 'headers', { durable: true }))
  for (let level = 0; level < LEVELS; level++) {
    const name = levelOf(level)
    await step(`declare delay level ${level}`, async () => {
      await channel.assertExchange(name, 'headers', { durable: true, alternateExchange: below(level) })
      await channel.assertQueue(name, { durable: true, arguments: queueArguments(ttlOf(level), below(level)) })
      await channel.bindQueue(name, name, '', { 'x-match': 'all', [HEADER + level]: true })
    })
  }
}

/** Makes what hands due messages to a destination exist. @throws TransportError */
export async function declareDue(channel: AmqpChannel, destination: string): Promise<void> {
  const queue = queueOfDue(destination)
  await step(`declare queue "${queue}"`, async () => {
    await channel.assertQueue(queue, { durable: true, arguments: queueArguments(DUE_TTL_MS, destination) })
    await channel.bindQueue(queue, DUE, '', { 'x-match': 'all', [TO_HEADER]: destination })
  })
}

/** What the two functions above declare, as data. */
export function delayPartsOf(destination: string): readonly TopologyPart[] {
  const levels = Array.from({ length: LEVELS }, (_, level) => level)
  return [
    { kind: 'exchange', name: DUE, details: { type: 'headers', durable: true } },
    ...levels.map((level) => ({
      kind: 'exchange',
      name: levelOf(level),
      details: { type: 'headers', durable: true, 'alternate-exchange': below(level) },
    })),
    ...levels.map((level) => ({
      kind: 'queue',
      name: levelOf(level),
      details: { durable: true, ...queueArguments(ttlOf(level), below(level)), exchange: levelOf(level) },
    })),
    {
      kind: 'queue',
      name: queueOfDue(destination),
      details: { durable: true, ...queueArguments(DUE_TTL_MS, destination), exchange: DUE },
    },
  ]
}

/** 0 would expire it before it is stored. */
const DUE_TTL_MS = 1

const ttlOf = (level: number): number => UNIT_MS * 2 ** level

function queueArguments(ttlMs: number, next: string): Record<string, string | number> {
  return {
    'x-queue-type': 'quorum',
    'x-message-ttl': ttlMs,
    'x-dead-letter-exchange': next,
    'x-dead-letter-strategy': 'at-least-once',
    'x-overflow': 'reject-publish',
  }
}

async function step(what: string, run: () => Promise<unknown>): Promise<void> {
  try {
    await run()
  } catch (cause) {
    throw toTransportError(what, cause)
  }
}
