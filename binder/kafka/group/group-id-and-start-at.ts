import { invalidOption } from '../../../core/errors.ts'
import { wrongKind } from '../../../core/option-checks.ts'
import type { TransportError } from '../../errors.ts'
import { transportError } from '../errors.ts'

/**
 * Returns the Kafka group of a subscription without an entry in `groupIds`. Kafka groups are global and a member's topics are the
 * group's, so the topic is part of the name: `audit` on two channels is two groups. To continue reading with another program use
 * this group id.
 */
export function groupIdOf(group: string, topic: string): string {
  return `${group}.${topic}`
}

/** By group and channel, from `resolveGroupIds`. */
type GroupIds = ReadonlyMap<string, string>

export function kafkaGroupOf({ groupIds }: { readonly groupIds: GroupIds }, group: string, topic: string): string {
  return groupIds.get(placeOf(group, topic)) ?? groupIdOf(group, topic)
}

interface GroupPlace {
  readonly topic: string
  readonly group: string
}

/**
 * Refuses a Kafka group used by two groups, because of `groupIds` or equal joined names: the members would each read a part of
 * both topics.
 */
export class GroupPlaces {
  readonly #settings: { readonly groupIds: GroupIds }
  readonly #places = new Map<string, GroupPlace>()

  constructor(settings: { readonly groupIds: GroupIds }) {
    this.#settings = settings
  }

  /** @throws TransportError `mismatch` naming both groups and the remedy */
  claim(topic: string, group: string): void {
    const groupId = kafkaGroupOf(this.#settings, group, topic)
    const place = { topic, group }
    const other = this.#places.get(groupId) ?? place
    this.#places.set(groupId, other)
    if (other.topic !== topic || other.group !== group) throw sharedGroup(groupId, place, other)
  }
}

function sharedGroup(groupId: string, { topic, group }: GroupPlace, other: GroupPlace): TransportError {
  const places = `the group "${group}" of "${topic}" and the group "${other.group}" of "${other.topic}"`
  return transportError(
    'mismatch',
    `${places} have one Kafka group, "${groupId}": each would get a part of the messages`,
    topic,
    undefined,
    'Give one of them another Kafka group in groupIds.',
  )
}

/** Joins with `:`, which no name of a channel or group contains. */
const placeOf = (group: string, topic: string): string => `${topic}:${group}`

const MAX_LENGTH = 249

/** @throws TypeError naming the channel and the group, also for a Kafka group that is given twice */
export function resolveGroupIds(
  path: string,
  given: Readonly<Record<string, Readonly<Record<string, string>>>>,
): ReadonlyMap<string, string> {
  const resolved = new Map<string, string>()
  const users = new Map<string, string>()
  for (const [channel, groups] of entriesOf(`${path}.groupIds`, given)) {
    for (const [group, groupId] of entriesOf(`${path}.groupIds.${channel}`, groups)) {
      const place = `${path}.groupIds.${channel}.${group}`
      if (typeof groupId !== 'string' || groupId === '' || groupId.length > MAX_LENGTH)
        throw invalidOption(place, groupId, `a Kafka group of 1 to ${MAX_LENGTH} characters`)
      const user = users.get(groupId)
      if (user !== undefined)
        throw invalidOption(
          place,
          groupId,
          `another Kafka group than ${user} has: its members would share out both topics`,
        )
      users.set(groupId, `groupIds.${channel}.${group}`)
      resolved.set(placeOf(group, channel), groupId)
    }
  }
  return resolved
}

/** Start of a group without commits: `latest`, or epoch ms. By group and channel. */
export type StartsAt = ReadonlyMap<string, 'latest' | number>

export function startOf(startAt: StartsAt, group: string, topic: string): 'latest' | number | undefined {
  return startAt.get(placeOf(group, topic))
}

/** @throws TypeError naming the channel and the group */
export function resolveStartAt(
  path: string,
  given: Readonly<Record<string, Readonly<Record<string, unknown>>>>,
): StartsAt {
  const resolved = new Map<string, 'latest' | number>()
  for (const [channel, groups] of entriesOf(`${path}.startAt`, given)) {
    for (const [group, at] of entriesOf(`${path}.startAt.${channel}`, groups)) {
      if (at === 'earliest') continue
      const instant = at instanceof Date ? at.getTime() : undefined
      if (at !== 'latest' && !Number.isFinite(instant))
        throw invalidOption(`${path}.startAt.${channel}.${group}`, at, "'earliest', 'latest' or a valid Date")
      resolved.set(placeOf(group, channel), instant ?? 'latest')
    }
  }
  return resolved
}

function entriesOf<T>(path: string, given: Readonly<Record<string, T>>): ReadonlyArray<[string, T]> {
  if (typeof given === 'object' && given !== null && !Array.isArray(given)) return Object.entries(given)
  throw wrongKind(path, given, 'an object of names')
}
