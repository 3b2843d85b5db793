/**
 * Delayed messages on Kafka: a topic `<destination>.delay` whose partitions are tiers, and forwarders that move due messages
 * (`forwarder.ts`).
 *
 * All messages of a tier wait equally long after entering it, so the head of a partition is always the next one to leave: a
 * forwarder reads heads and pauses the partition until then. A message enters the longest tier that is not longer than the rest
 * of its delay, moves to the next for the rest, and in tier 0, for less than a second, waits until it is due. Times are absolute,
 * so that delays of hops do not add up.
 */
import { DAY, HOUR, MINUTE, SECOND } from '../../../core/clock.ts'
import { type EncodedMessage, type Headers, type HeaderValue, INTERNAL_PREFIX } from '../../channel/message.ts'
import type { DestinationSpec } from '../../transport/transport.ts'

/** Wait of each tier, by partition. Part of the wire format: never change an entry. */
export const TIERS_MS: readonly number[] = Object.freeze([
  0,
  1 * SECOND,
  2 * SECOND,
  5 * SECOND,
  10 * SECOND,
  30 * SECOND,
  1 * MINUTE,
  5 * MINUTE,
  30 * MINUTE,
  3 * HOUR,
  12 * HOUR,
])

/** Retention of the topic. A running forwarder rewrites a message at least every 12 hours. */
const RETENTION_MS = 7 * DAY

const DUE_HEADER = `${INTERNAL_PREFIX}delay-due`
const UNTIL_HEADER = `${INTERNAL_PREFIX}delay-until`

/** Group of the forwarders of a topic. */
export const FORWARDERS = 'concordat'

export function delayTopicOf(destination: string): string {
  return `${destination}.delay`
}

export function isDelayTopic({ name, groups }: Pick<DestinationSpec, 'name' | 'groups'>): boolean {
  return name.endsWith(delayTopicOf('')) && groups.length === 1 && groups[0] === FORWARDERS
}

/** Returns the topic for delayed messages to `spec`. */
export function delaySpec({ name, retentionMs = 0 }: DestinationSpec): DestinationSpec {
  return {
    name: delayTopicOf(name),
    partitions: TIERS_MS.length,
    groups: [FORWARDERS],
    keepsEach: true,
    retentionMs: Math.max(RETENTION_MS, retentionMs),
  }
}

/** Returns the record that waits, and its partition. */
export function toDelayed(message: EncodedMessage, now: number): { message: EncodedMessage; tier: number } {
  const due = message.notBefore ?? now
  const tier = TIERS_MS.findLastIndex((each) => each <= due - now)
  const until = tier === 0 ? due : now + (TIERS_MS[tier] ?? 0)
  return {
    tier,
    message: {
      ...message,
      destination: delayTopicOf(message.destination),
      headers: { ...message.headers, [DUE_HEADER]: due, [UNTIL_HEADER]: until },
      notBefore: undefined,
    },
  }
}

/** Returns the latest time at which messages that entered a tier by `now` have left it. Epoch ms. */
export function tierEndsAt(tier: number, now: number): number {
  return now + (TIERS_MS[tier] ?? 0) + SECOND
}

/** Content of a record of a delay topic. */
export interface Delayed {
  /** The message as it was sent, with its `notBefore`. */
  readonly message: EncodedMessage
  /** Time at which it leaves its tier, epoch ms. */
  readonly until: number
}

/** Returns `undefined` for a record that this package did not write. */
export function fromDelayed(record: EncodedMessage, destination: string): Delayed | undefined {
  const { headers } = record
  const due = headers[DUE_HEADER]
  const until = headers[UNTIL_HEADER]
  if (typeof due !== 'number' || typeof until !== 'number') return undefined
  if (!Number.isSafeInteger(due) || !Number.isSafeInteger(until)) return undefined
  return { until, message: { ...record, destination, headers: withoutOwn(headers), notBefore: due } }
}

function withoutOwn(headers: Headers): Headers {
  const kept: Record<string, HeaderValue> = { ...headers }
  delete kept[DUE_HEADER]
  delete kept[UNTIL_HEADER]
  return kept
}
