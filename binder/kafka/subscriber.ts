import { randomUUID } from 'node:crypto'
import { ended } from '../transport/kit/deadline.ts'
import type {
  DestinationSpec,
  Receiver,
  Subscription,
  SubscriptionSpec,
  TransportHost,
} from '../transport/transport.ts'
import type { Admin, AdminLink, DriverLink, Member, MemberSpec } from './driver.ts'
import { transportError } from './errors.ts'
import { GroupPlaces, groupIdOf, kafkaGroupOf, startOf } from './group/group-id-and-start-at.ts'
import { beginning, type NewGroup } from './group/offset-reset-detector.ts'
import { placeGroup } from './group/set-start-offset.ts'
import { SettledOffsets } from './group/settled-uncommitted-offsets.ts'
import type { KafkaSettings } from './settings.ts'
import type { Topics } from './topics.ts'
import { FORWARDERS } from './wire/delay-topic.ts'

const DELETE_MS = 2_000
/** Number of messages of each tier that a forwarder holds: as many as it publishes at once. */
const TIER_WINDOW = 500
const TIER_WINDOW_BYTES = 2 * 1024 * 1024

export interface SubscriberParts {
  readonly settings: Pick<KafkaSettings, 'groupIds' | 'startAt'>
  readonly link: DriverLink
  readonly topics: Topics
  readonly host: TransportHost
  /** The broker answered a member, or failed to. */
  readonly onAnswer: (error?: unknown) => void
}

/** Opens subscriptions, and ends the remaining ones when the transport closes. */
export class Subscriber {
  readonly #parts: SubscriberParts
  readonly #admin: AdminLink
  readonly #open = new Set<Member>()
  /** By group and topic, because a user's group id may belong to several topics. */
  readonly #settled = new Map<string, SettledOffsets>()
  readonly #places: GroupPlaces
  #isClosed = false

  constructor(parts: SubscriberParts) {
    this.#parts = parts
    this.#admin = parts.link.admin
    this.#places = new GroupPlaces(parts.settings)
  }

  /** @throws TransportError `mismatch` for a Kafka group shared by two groups */
  claim({ name, groups }: Pick<DestinationSpec, 'name' | 'groups'>): void {
    for (const group of groups) this.#places.claim(name, group)
  }

  /** @throws TransportError */
  async subscribe(spec: SubscriptionSpec, receiver: Receiver): Promise<Subscription> {
    if (spec.group !== null) this.claim({ name: spec.destination, groups: [spec.group] })
    const partitions = await this.#parts.topics.verify(spec.destination)
    if (spec.rereads !== true) {
      await this.#reportGroup(spec, receiver)
      await this.#placeGroup(spec)
    }
    const groupId = this.#groupId(spec)
    const memberSpec: MemberSpec = {
      topic: spec.destination,
      groupId,
      partitions,
      prefetch: spec.prefetch,
      prefetchBytes: spec.prefetchBytes,
      startAt: await this.#startOf(spec),
      settled: spec.group === null || spec.rereads === true ? undefined : this.#settledOf(groupId, spec.destination),
    }
    return this.#openMember(memberSpec, receiver, async () => {
      if (spec.group === null) await this.#deleteGroup(memberSpec.groupId)
    })
  }

  #settledOf(groupId: string, topic: string): SettledOffsets {
    const key = `${groupId} ${topic}`
    let settled = this.#settled.get(key)
    if (settled === undefined) this.#settled.set(key, (settled = new SettledOffsets()))
    return settled
  }

  async #openMember(spec: MemberSpec, receiver: Receiver, afterEnd: () => Promise<void>): Promise<Member> {
    const { link, onAnswer } = this.#parts
    const onEnd = async (): Promise<void> => {
      this.#open.delete(member)
      await afterEnd()
    }
    // The subscriber may have closed during the lookup of the topic: otherwise this member would never end.
    if (this.#isClosed) throw transportError('closed', `subscribing to "${spec.topic}" failed`, spec.topic)
    const member: Member = link.createMember(spec, receiver, { onAnswer, onEnd })
    this.#open.add(member)
    await member.open()
    return member
  }

  /** Joins the forwarders of a delay topic. @throws TransportError */
  async subscribeTiers(topic: string, receiver: Receiver): Promise<Subscription> {
    const { topics } = this.#parts
    const partitions = await topics.verify(topic)
    const groupId = groupIdOf(FORWARDERS, topic)
    // The first delayed message may be there before the forwarders are.
    if (topics.takeCreated(topic)) this.#settledOf(groupId, topic).isBeginning = true
    await this.#reportBeginning({ topic, groupId, at: undefined }, undefined, receiver)
    const spec: MemberSpec = {
      topic,
      groupId,
      partitions,
      prefetch: TIER_WINDOW * partitions,
      prefetchBytes: TIER_WINDOW_BYTES * partitions,
      startAt: undefined,
      evenShares: true,
      settled: this.#settledOf(groupId, topic),
    }
    return this.#openMember(spec, receiver, async () => {})
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.all([...this.#open].map((member) => member.ended()))
  }

  #groupId({ group, destination }: SubscriptionSpec): string {
    if (group !== null) return kafkaGroupOf(this.#parts.settings, group, destination)
    return groupIdOf(`anonymous.${this.#parts.host.service}.${randomUUID()}`, destination)
  }

  async #reportGroup({ group, destination: topic }: SubscriptionSpec, receiver: Receiver): Promise<void> {
    if (group === null) return
    const groupId = kafkaGroupOf(this.#parts.settings, group, topic)
    const at = startOf(this.#parts.settings.startAt, group, topic)
    const isOurName = groupId === groupIdOf(group, topic)
    await this.#reportBeginning({ topic, groupId, at }, isOurName ? group : undefined, receiver)
  }

  /**
   * Logs where a group without any commits begins, but not again when it reconnects before its first commit. A failed lookup does
   * not prevent the start.
   * @param plainName name under which another program may have a group on the topic
   */
  async #reportBeginning(
    { topic, groupId, at }: Pick<NewGroup, 'topic' | 'groupId' | 'at'>,
    plainName: string | undefined,
    receiver: Receiver,
  ): Promise<void> {
    if (receiver.displaced === undefined) return
    const settled = this.#settledOf(groupId, topic)
    const asked = this.#admin.use(`looking up where group "${groupId}" begins`, async (admin) => {
      const hasCommitted = (await admin.committed(groupId, topic)).size > 0
      if (hasCommitted || settled.isBeginning) return void (settled.isBeginning = !hasCommitted)
      const records = (await admin.ranges(topic)).reduce((sum, { low, high }) => sum + high - low, 0)
      const namesake = (await hasNamesake(admin, plainName, topic)) ? plainName : undefined
      settled.isBeginning = true
      return beginning({ topic, groupId, at, records, namesake })
    })
    const displacement = await asked.catch(() => undefined)
    if (displacement !== undefined) receiver.displaced(displacement)
  }

  /**
   * Commits the first offsets of a new group before its first member joins: otherwise a partition without messages would begin at
   * its current end again after each restart.
   */
  async #placeGroup({ group, destination: topic }: SubscriptionSpec): Promise<void> {
    const at = group === null ? undefined : startOf(this.#parts.settings.startAt, group, topic)
    if (group === null || at === undefined) return
    const groupId = kafkaGroupOf(this.#parts.settings, group, topic)
    await this.#admin.use(`placing group "${groupId}"`, (admin) => placeGroup(admin, groupId, topic, at), topic)
  }

  /** Fixes "from now on" before joining: everything published after `subscribe` is later. */
  async #startOf({ group, destination: topic, rereads }: SubscriptionSpec): Promise<MemberSpec['startAt']> {
    if (group !== null && rereads !== true) return undefined
    const ranges = await this.#admin.use(`finding the offsets of "${topic}"`, (admin) => admin.ranges(topic), topic)
    return new Map(ranges.map(({ partition, low, high }) => [partition, rereads === true ? low : high]))
  }

  /** Best effort: Kafka itself forgets a group without members and offsets. */
  async #deleteGroup(groupId: string): Promise<void> {
    const deleting = this.#admin.use(`deleting group "${groupId}"`, (admin) => admin.deleteGroup(groupId))
    await ended(this.#parts.host.clock, DELETE_MS, deleting)
  }
}

/** Tells whether another program's group has offsets there. False if this user has no right to ask. */
async function hasNamesake(admin: Admin, groupId: string | undefined, topic: string): Promise<boolean> {
  const positions = groupId === undefined ? undefined : await admin.committed(groupId, topic).catch(() => undefined)
  return positions !== undefined && positions.size > 0
}
