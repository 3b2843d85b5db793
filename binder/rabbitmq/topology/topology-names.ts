import { TransportError } from '../../errors.ts'

/**
 * How channels and groups lie on the broker.
 *
 * ```
 * orders.placed                   durable direct exchange; routing key = partition number
 * orders.placed:partitions        marker: internal exchange whose `alternate-exchange` argument is the partition count
 * orders.placed:audit:0 ... :3    one durable queue per partition for the group `audit`, single active consumer
 * orders.placed:audit             the same when there is one partition
 * orders.placed:audit:members     never holds a message, its consumers count the live members; expires unused
 * orders.placed:audit:idle        likewise counts the members without a partition
 * orders.placed:audit:settled     exchange that says: the group's quorum queues are old enough (`new-queue-settling.ts`)
 * orders.placed:written           exchange that is there for a moment after new queues were made (`new-queue-settling.ts`)
 * amq.gen-...                     an anonymous subscription: exclusive, bound to every partition
 * ```
 *
 * `:` is legal in AMQP and in no channel's or group's name. With `.`, group `b.c` of channel `a` and group `c` of
 * channel `a.b` would share a queue and mix their messages.
 *
 * The marker exists because two services that disagree on the partition count would lose messages (a routing key
 * without a queue) or the order of a key, silently. RabbitMQ compares the arguments of a repeated declaration, and of
 * an exchange's arguments only this one; nothing is ever published to the marker, so it has no other effect.
 */

const MAX_NAME_BYTES = 255

export const markerOf = (destination: string): string => checked(`${destination}:partitions`, destination)

export const queueOf = (destination: string, group: string, partition: number, partitions: number): string =>
  checked(partitions === 1 ? `${destination}:${group}` : `${destination}:${group}:${partition}`, destination)

export const membersQueueOf = (destination: string, group: string): string =>
  checked(`${destination}:${group}:members`, destination)

/** The exchange that marks a group's quorum queues as settled. */
export const settledOf = (destination: string, group: string): string =>
  checked(`${destination}:${group}:settled`, destination)

/** The exchange that is created and deleted to get all new objects on disk. */
export const writtenOf = (destination: string): string => checked(`${destination}:written`, destination)

export const idleQueueOf = (destination: string, group: string): string =>
  checked(`${destination}:${group}:idle`, destination)

export const routingKeyOf = (partition: number): string => String(partition)

/** The numbers 0 to count - 1, starting at a place that depends on `seed`, so that members started together take turns. */
export function rotated(count: number, seed: string): number[] {
  let hash = 0
  for (let i = 0; i < seed.length; i++) hash = (Math.imul(hash, 31) + seed.charCodeAt(i)) >>> 0
  return Array.from({ length: count }, (_, i) => (i + hash) % count)
}

/** Parses RabbitMQ's response about a different count in the marker, as numbers; other numeric arguments do not match. */
export function countsOf(text: string): { readonly wanted: number; readonly existing: number } | undefined {
  const match = /'alternate-exchange'.*received '(\d+)'.* but current is '(\d+)'/.exec(text)
  return match === null ? undefined : { wanted: Number(match[1]), existing: Number(match[2]) }
}

/** @returns the name. @throws TransportError if it is longer than RabbitMQ allows */
export function checked(name: string, destination: string): string {
  if (name.length <= MAX_NAME_BYTES) return name
  throw new TransportError({
    transport: 'rabbitmq',
    kind: 'mismatch',
    destination,
    message: `"${name}" is longer than ${MAX_NAME_BYTES} characters, RabbitMQ's limit: shorten the channel's or the group's name`,
  })
}
