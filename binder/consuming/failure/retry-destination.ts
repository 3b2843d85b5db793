/**
 * Delayed retry: a message that failed leaves the line and comes back to the group that failed on it, and to no other.
 * Each group with `retry: 'delayed'` has a destination of its own for that, `<channel>.<group>.retry`: a copy of the
 * message goes there with `notBefore`, and the group reads it beside the channel. The copy says how often the message
 * was tried and where it lay, so the count goes on in whichever process it comes back to.
 */
import { type EncodedMessage, type Headers, type HeaderValue, INTERNAL_PREFIX } from '../../channel/message.ts'
import type { DestinationSpec, GroupPlace, Transport, TransportDelivery } from '../../transport/transport.ts'

const ATTEMPTS = `${INTERNAL_PREFIX}retry-attempts`
const CHANNEL = `${INTERNAL_PREFIX}retry-channel`
const POSITION = `${INTERNAL_PREFIX}retry-position`

/** Where a group's messages wait for their next attempt. */
export function retryName(destination: string, group: string): string {
  return `${destination}.${group}.retry`
}

/**
 * Kept for as long as the channel's own messages. Without `delays`, which groups with delayed retries add: a redrive and a binding
 * that only reads the channel need no delay queues.
 */
export function retrySpec({ name, partitions, retentionMs }: DestinationSpec, group: string): DestinationSpec {
  const kept = retentionMs === undefined ? {} : { retentionMs }
  return { name: retryName(name, group), partitions, groups: [group], keepsEach: true, ...kept }
}

/** Where the group's retries wait, as a place; they have the partitions of their channel. */
export function retryPlace({ destination, partitions, group }: GroupPlace): GroupPlace {
  return { destination: retryName(destination, group), partitions, group }
}

/**
 * What a group has not settled of the channel and of its retries: those that are due, where a place of them is there.
 * `undefined`: the broker cannot tell. @throws TransportError
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

/** Whether `lag` leaves out messages that readers of the group may hold now: the true number is at least `lag`. @throws TransportError */
export async function leavesOutHeld(
  transport: Pick<Transport, 'features' | 'hasReaders'>,
  place: GroupPlace,
): Promise<boolean> {
  return transport.features.tellsWholeLag !== true && (await transport.hasReaders?.(place)) !== false
}

/**
 * The copy that comes back.
 * @param attempts handler calls made so far
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

/** A message for one group of a channel and no other, as if it had never been tried. */
export function toGroup(message: EncodedMessage, group: string): EncodedMessage {
  return {
    ...message,
    destination: retryName(message.destination, group),
    headers: { ...message.headers, [ATTEMPTS]: 0, [CHANNEL]: message.destination },
  }
}

/**
 * Whether the copy is for the group of another channel than this one, whose name with its group is the same (`orders` and `placed.stock`,
 * `orders.placed` and `stock`). That group has a place of its own there.
 */
export function isRetryOfOther({ message }: TransportDelivery, destination: string): boolean {
  const channel = message.headers[CHANNEL]
  return typeof channel === 'string' && channel !== destination
}

/** Handler calls that a delivery had before it came here, in whatever process. */
export function attemptsBefore(delivery: TransportDelivery): number {
  return delivery instanceof RetryDelivery ? delivery.attempts : 0
}

/** The delivery as the transport lent it. */
export function originalOf(delivery: TransportDelivery): TransportDelivery {
  return delivery instanceof RetryDelivery ? delivery.copy : delivery
}

/** A copy that came back, as what it is a copy of. */
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
