/**
 * Delayed retry: a failed message leaves the line, and only the group that failed on it receives it again. Each group with
 * `retry: 'delayed'` has a destination for this, `<channel>.<group>.retry`: a copy of the message goes there with `notBefore`,
 * and the group reads it beside the channel. The copy contains the number of attempts and its original position, so any process
 * continues the count.
 */
import { type EncodedMessage, type Headers, type HeaderValue, INTERNAL_PREFIX } from '../../channel/message.ts'
import type { DestinationSpec, GroupPlace, Transport, TransportDelivery } from '../../transport/transport.ts'

const ATTEMPTS = `${INTERNAL_PREFIX}retry-attempts`
const CHANNEL = `${INTERNAL_PREFIX}retry-channel`
const POSITION = `${INTERNAL_PREFIX}retry-position`

/** Returns the destination in which a group's messages wait for their next attempt. */
export function retryName(destination: string, group: string): string {
  return `${destination}.${group}.retry`
}

/**
 * Kept as long as the channel's own messages. Without `delays`, which groups with delayed retries add: a redrive and a binding
 * that only reads the channel need no delay queues.
 */
export function retrySpec({ name, partitions, retentionMs }: DestinationSpec, group: string): DestinationSpec {
  const kept = retentionMs === undefined ? {} : { retentionMs }
  return { name: retryName(name, group), partitions, groups: [group], keepsEach: true, ...kept }
}

/** Returns the place of the group's retries, which have the partitions of their channel. */
export function retryPlace({ destination, partitions, group }: GroupPlace): GroupPlace {
  return { destination: retryName(destination, group), partitions, group }
}

/**
 * Returns the number of unsettled messages of the group in the channel and, if they are due, in its retries. `undefined`: the
 * broker cannot tell. @throws TransportError
 */
export async function lagWithRetries(
  transport: Pick<Transport, 'lag' | 'hasPlace'>,
  place: GroupPlace,
): Promise<number | undefined> {
  const lag = await transport.lag?.(place)
  const retries = retryPlace(place)
  if (lag === undefined || (await transport.hasPlace?.(retries)) !== true) return lag
  return lag + ((await transport.lag?.(retries)) ?? 0)
}

/**
 * Tells whether `lag` omits messages that readers of the group may hold now, so the true number is at least `lag`. @throws
 * TransportError
 */
export async function leavesOutHeld(
  transport: Pick<Transport, 'features' | 'hasReaders'>,
  place: GroupPlace,
): Promise<boolean> {
  return transport.features.tellsWholeLag !== true && (await transport.hasReaders?.(place)) !== false
}

/**
 * Returns the copy for the next attempt.
 * @param attempts number of handler calls so far
 * @param notBefore epoch ms
 */
export function toRetry(
  { message, position }: TransportDelivery,
  group: string,
  attempts: number,
  notBefore: number,
): EncodedMessage {
  return {
    ...message,
    destination: retryName(message.destination, group),
    headers: { ...message.headers, [ATTEMPTS]: attempts, [CHANNEL]: message.destination, [POSITION]: position },
    notBefore,
  }
}

/** Returns a message for only one group of a channel, as if it had never been tried. */
export function toGroup(message: EncodedMessage, group: string): EncodedMessage {
  return {
    ...message,
    destination: retryName(message.destination, group),
    headers: { ...message.headers, [ATTEMPTS]: 0, [CHANNEL]: message.destination },
  }
}

/**
 * Tells whether the copy belongs to a group of another channel, whose joined name is the same (`orders` and `placed.stock`,
 * `orders.placed` and `stock`). That group has its own place there.
 */
export function isRetryOfOther({ message }: TransportDelivery, destination: string): boolean {
  const channel = message.headers[CHANNEL]
  return typeof channel === 'string' && channel !== destination
}

/** Returns the number of handler calls for a delivery before this process received it. */
export function attemptsBefore(delivery: TransportDelivery): number {
  return delivery instanceof RetryDelivery ? delivery.attempts : 0
}

/** Returns the delivery in its original form from the transport. */
export function originalOf(delivery: TransportDelivery): TransportDelivery {
  return delivery instanceof RetryDelivery ? delivery.copy : delivery
}

/** A returned copy, presented as the message that it copies. */
export class RetryDelivery implements TransportDelivery {
  readonly message: EncodedMessage
  readonly position: string
  readonly redelivered = true
  readonly attempts: number
  readonly copy: TransportDelivery

  constructor(copy: TransportDelivery, destination: string) {
    const { headers } = copy.message
    this.copy = copy
    this.message = { ...copy.message, destination, headers: withoutOwn(headers) }
    this.position = positionIn(headers) ?? copy.position
    this.attempts = attemptsIn(headers)
  }

  get signal(): AbortSignal {
    return this.copy.signal
  }

  ack(): void {
    this.copy.ack()
  }

  release(): void {
    this.copy.release()
  }
}

/** A foreign message in the retry destination counts as tried once. */
function attemptsIn(headers: Headers): number {
  const attempts = headers[ATTEMPTS]
  return typeof attempts === 'number' && Number.isSafeInteger(attempts) && attempts >= 0 ? attempts : 1
}

function positionIn(headers: Headers): string | undefined {
  const position = headers[POSITION]
  return typeof position === 'string' ? position : undefined
}

function withoutOwn(headers: Headers): Headers {
  const kept: Record<string, HeaderValue> = { ...headers }
  delete kept[ATTEMPTS]
  delete kept[CHANNEL]
  delete kept[POSITION]
  return kept
}
