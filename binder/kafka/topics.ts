import { type Clock, HOUR, MINUTE, SECOND } from '../../core/clock.ts'
import { counted } from '../../core/counted-noun.ts'
import type { Logger } from '../../core/logger.ts'
import { partitionMismatch, type TransportError } from '../errors.ts'
import type { DestinationSpec } from '../transport/transport.ts'
import { checkSettings, UNLIMITED } from './check-topic-settings.ts'
import type { Admin, AdminLink, NewTopic } from './driver.ts'
import { hasType, transportError } from './errors.ts'
import type { KafkaSettings } from './settings.ts'
import { isDelayTopic } from './wire/delay-topic.ts'

const LEADER_POLL_MS = 50
const CREATE_TIMEOUT_MS = 10 * SECOND
/** After a restart of all brokers the first one may not list topics for some seconds. */
const ABSENCE_MS = 1 * MINUTE
/** Longer than the pauses between retries. */
const LOOKS_APART_MS = 1 * HOUR

/** Both on the monotonic clock. */
interface Absence {
  readonly since: number
  readonly seenAt: number
}

/** Creates topics, and knows which exist. */
export class Topics {
  readonly #settings: KafkaSettings
  readonly #admin: AdminLink
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #partitions = new Map<string, number>()
  /** Topics that the broker has listed to this process. */
  readonly #listed = new Set<string>()
  /** Listed topics that were missing at the last lookup. */
  readonly #absences = new Map<string, Absence>()
  /** Topics seen with the declared number of partitions. */
  readonly #accepted = new Set<string>()
  readonly #deadLetters = new Set<string>()
  /** Topics that this process has created. */
  readonly #created = new Set<string>()
  /** Topics whose settings were checked. */
  readonly #checked = new Set<string>()

  constructor(
    settings: KafkaSettings,
    admin: AdminLink,
    { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
  ) {
    this.#settings = settings
    this.#admin = admin
    this.#clock = clock
    this.#logger = logger
  }

  /** Returns the topic's number of partitions at the last lookup; `undefined` if it was never seen. */
  partitions(topic: string): number | undefined {
    return this.#partitions.get(topic)
  }

  /** Returns true once for a topic that this process has created, and on which a group has therefore no earlier position. */
  takeCreated(topic: string): boolean {
    return this.#created.delete(topic)
  }

  /** True for a topic of dead letters, which is not limited by `maxMessageBytes` but by its own setting. */
  takesAnySize(topic: string): boolean {
    return this.#deadLetters.has(topic)
  }

  /**
   * Creates missing topics, if allowed, and resolves when the broker knows all topics and the created ones have leaders. Existing
   * topics may lack leaders, because a group can read its other partitions. An existing topic with another number of partitions
   * than declared is refused the first time it is seen. If it gets more partitions later, while this process runs, a warning is
   * logged and producers and groups use them: stopping would not restore the old order.
   * @throws TransportError
   */
  async provision(destinations: readonly DestinationSpec[]): Promise<void> {
    const wanted = new Map(destinations.map((spec) => [spec.name, spec]))
    for (const { name, deadLetters } of wanted.values()) if (deadLetters === true) this.#deadLetters.add(name)
    if (wanted.size === 0 || this.#settings.provision === 'none') return
    try {
      await this.#admin.use('creating topics', (admin) => this.#provisionOn(admin, wanted))
    } catch (error) {
      if (!hasType(error, 'UNKNOWN_TOPIC_OR_PARTITION')) throw error
      // Before creating topics, kafkajs requests those that its connection has used. The next try has a new connection.
      throw transportError(
        'unavailable',
        'creating topics failed: a topic is not known to the broker',
        undefined,
        error,
      )
    }
    for (const spec of wanted.values()) this.#compare(spec)
  }

  /**
   * Looks up a topic that this process did not provision.
   * @throws TransportError `unroutable` when it does not exist, `unavailable` when it may reappear
   */
  async verify(topic: string): Promise<number> {
    const known = this.#partitions.get(topic)
    if (known !== undefined) return known
    const topics = await this.#admin.use('listing topics', (admin) => admin.listTopics(), topic)
    if (!topics.includes(topic))
      throw this.passingAbsence(topic) ?? transportError('unroutable', `topic "${topic}" does not exist`, topic)
    await this.#admin.use(`looking up topic "${topic}"`, (admin) => this.#awaitTopics(admin, [topic]), topic)
    return this.#partitions.get(topic) ?? 1
  }

  /**
   * Returns an error for a topic that the broker does not know now but knew before. `undefined` for a topic that this process has
   * never seen, or that has been absent for a minute. A lookup more than an hour after the last one begins a new absence, because
   * the topic may have existed in between.
   */
  passingAbsence(topic: string, cause?: unknown): TransportError | undefined {
    if (!this.#listed.has(topic)) return undefined
    const now = this.#clock.monotonic()
    const last = this.#absences.get(topic)
    const since = last === undefined || now - last.seenAt > LOOKS_APART_MS ? now : last.since
    this.#absences.set(topic, { since, seenAt: now })
    if (now - since >= ABSENCE_MS) return undefined
    return transportError('unavailable', `topic "${topic}" is not known to the broker (yet)`, topic, cause)
  }

  /** Forgets the topic, because the broker's answer contradicts the last lookup. */
  forget(topic: string): void {
    this.#partitions.delete(topic)
  }

  async #provisionOn(admin: Admin, wanted: ReadonlyMap<string, DestinationSpec>): Promise<void> {
    const existing = new Set(await admin.listTopics())
    const missing = [...wanted.values()].filter(({ name }) => !existing.has(name))
    if (this.#settings.provision === 'check') {
      await this.#awaitTopics(
        admin,
        [...wanted.keys()].filter((name) => existing.has(name)),
      )
      const [absence] = missing.map(({ name }) => this.passingAbsence(name)).filter((each) => each !== undefined)
      if (absence !== undefined) throw absence
      this.#compareAll([...wanted.values()], missing)
      await this.#checkSettings(admin, [...wanted.values()])
      return
    }
    if (missing.length > 0) await this.#create(admin, missing)
    await this.#awaitTopics(admin, [...wanted.keys()], new Set(missing.map(({ name }) => name)))
    await this.#checkSettings(admin, [...wanted.values()])
  }

  async #create(admin: Admin, missing: readonly DestinationSpec[]): Promise<void> {
    const topics = missing.map((spec) => this.#newTopic(spec))
    try {
      await admin.createTopics(topics, CREATE_TIMEOUT_MS)
      for (const { name } of missing) this.#created.add(name)
      this.#logger.info({ topics: missing.map(({ name }) => name) }, 'created Kafka topics')
    } catch (error) {
      if (missing.length > 1 && hasType(error, 'TOPIC_ALREADY_EXISTS', 'INVALID_CONFIG', 'POLICY_VIOLATION')) {
        for (const each of missing) await this.#create(admin, [each])
      } else await this.#createAlone(admin, missing, error)
    }
  }

  /**
   * Creates a topic without the message limit or the retention of dead letters if a hosted broker forbids these settings, and
   * logs it.
   */
  async #createAlone(admin: Admin, missing: readonly DestinationSpec[], error: unknown): Promise<void> {
    const [spec] = missing
    if (missing.length !== 1 || spec === undefined) throw error
    if (hasType(error, 'TOPIC_ALREADY_EXISTS')) return
    if (spec.deadLetters !== true || !hasType(error, 'INVALID_CONFIG', 'POLICY_VIOLATION')) throw error
    const { config, ...topic } = this.#newTopic(spec)
    const { 'max.message.bytes': limit, ...retaining } = config
    try {
      await admin.createTopics([{ ...topic, config: retaining }], CREATE_TIMEOUT_MS)
      this.#logger.warn(
        { topic: spec.name, limit, err: error },
        'the broker forbids the message limit of a dead letter topic',
      )
    } catch (again) {
      if (hasType(again, 'TOPIC_ALREADY_EXISTS')) return
      if (!hasType(again, 'INVALID_CONFIG', 'POLICY_VIOLATION')) throw again
      this.#logger.error(
        { topic: spec.name, err: again },
        'the broker forbids to keep dead letters without a limit of time: it deletes them after its own retention',
      )
      await admin.createTopics([this.#newTopic({ ...spec, deadLetters: false })], CREATE_TIMEOUT_MS)
    }
  }

  #newTopic(spec: DestinationSpec): NewTopic {
    return {
      name: spec.name,
      partitions: spec.partitions,
      replicationFactor: this.#settings.replicationFactor,
      config: topicConfigOf(spec, this.#settings),
    }
  }

  /**
   * Waits until the broker knows the topics. The caller's deadline ends it.
   * @param created topics whose partitions also need their leaders
   */
  async #awaitTopics(admin: Admin, names: readonly string[], created: ReadonlySet<string> = new Set()): Promise<void> {
    if (names.length === 0) return
    const deadline = this.#clock.monotonic() + this.#settings.requestTimeoutMs
    for (;;) {
      const found = await admin.partitionsOf(names)
      for (const [name, { count }] of found) {
        this.#partitions.set(name, count)
        this.#listed.add(name)
        this.#absences.delete(name)
      }
      const awaited = names.filter((name) => (created.has(name) ? found.get(name)?.isLed !== true : !found.has(name)))
      if (awaited.length === 0) return
      if (this.#clock.monotonic() >= deadline)
        throw transportError('unavailable', `topics ${awaited.join(', ')} have no leader`)
      await this.#clock.sleep(LEADER_POLL_MS)
    }
  }

  /** Checks settings, once. @throws TransportError */
  async #checkSettings(admin: Admin, wanted: readonly DestinationSpec[]): Promise<void> {
    const fresh = wanted.filter(({ name }) => !this.#checked.has(name))
    await checkSettings(admin, fresh, this.#logger)
    for (const { name } of fresh) this.#checked.add(name)
  }

  /** @throws TransportError naming everything that is missing or different */
  #compareAll(wanted: readonly DestinationSpec[], missing: readonly DestinationSpec[]): void {
    const faults = missing.map(({ name, partitions, assumed }) => {
      const count = assumed === true ? '' : ` (${counted(partitions, 'partition')})`
      return `topic "${name}" is missing${count}`
    })
    for (const spec of wanted) {
      const { name, partitions } = spec
      const existing = this.#partitions.get(name)
      if (existing !== undefined && existing !== partitions && !takesAnyCount(spec) && !this.#accepted.has(name))
        faults.push(`topic "${name}" has ${counted(existing, 'partition')}, declared are ${partitions}`)
    }
    // A different number of partitions alone has its own remedy.
    if (faults.length === 0 || (faults.length === 1 && missing.length === 0)) {
      for (const spec of wanted) this.#compare(spec)
      return
    }
    const remedy = "Make them as binder.describe() says, or have the transport make them with provision: 'create'"
    throw transportError('mismatch', `${faults.join('; ')}. ${remedy}`, missing[0]?.name)
  }

  #compare(spec: DestinationSpec): void {
    const { name, partitions } = spec
    const existing = this.#partitions.get(name)
    if (existing === undefined) return
    if (existing !== partitions && !takesAnyCount(spec)) {
      if (!this.#accepted.has(name)) throw mismatchOf(spec, existing)
      this.#logger.warn(
        { topic: name, partitions: existing, wanted: partitions },
        'a Kafka topic got another count of partitions: it is followed until the next start, keys may have moved',
      )
    }
    this.#accepted.add(name)
  }
}

/**
 * Tells whether the topic may have any number of partitions. Retries keep theirs when the channel gets more: their copies have no
 * order, and a group reads all partitions of the topic.
 */
function takesAnyCount(spec: DestinationSpec): boolean {
  const { assumed, keepsEach, deadLetters } = spec
  return assumed === true || (keepsEach === true && deadLetters !== true && !isDelayTopic(spec))
}

/** Dead letters and delays have no declared number of partitions. */
function mismatchOf({ name, partitions, deadLetters, keepsEach }: DestinationSpec, existing: number): Error {
  if (deadLetters !== true && keepsEach !== true)
    return partitionMismatch('kafka', name, { existing, declared: partitions }, 'make a new topic and move over')
  const has = `topic "${name}" has ${counted(existing, 'partition')} and needs ${partitions}`
  return transportError('mismatch', has, name, undefined, 'Delete it once nothing is left in it: it is made again.')
}

/** Same as the broker's limit for a whole request, 100 MiB. */
const DEAD_LETTER_BYTES = 100 * 1024 * 1024

/**
 * Returns the settings of a topic to create. The channel's settings override the transport's. Kafka only deletes whole segments,
 * so their length is limited, too. A dead letter topic accepts everything that its channel accepts, with additional metadata; a
 * letter is kept until it is redriven or dropped, and a delayed message until it is due, whatever the transport or the broker set
 * for other topics.
 */
export function topicConfigOf(
  spec: DestinationSpec,
  { topicConfig }: Pick<KafkaSettings, 'topicConfig'>,
): Readonly<Record<string, string>> {
  const { retentionMs, deadLetters, keepsEach } = spec
  return {
    ...topicConfig,
    ...(retentionMs === undefined ? {} : { 'retention.ms': String(retentionMs), 'segment.ms': String(retentionMs) }),
    ...(keepsEach === true ? { 'cleanup.policy': 'delete' } : {}),
    ...(isDelayTopic(spec) ? { 'retention.bytes': UNLIMITED } : {}),
    ...(deadLetters === true
      ? { 'retention.ms': UNLIMITED, 'retention.bytes': UNLIMITED, 'max.message.bytes': String(DEAD_LETTER_BYTES) }
      : {}),
  }
}
