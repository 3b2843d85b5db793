/** Dead letters and lag, through a transport, without the channels' declarations. */

import { randomUUID } from 'node:crypto'
import { type Channel, type DeadLetter, deadLetterName, defineChannel, redrive, TransportError } from 'concordat/binder'
import { type Logger, MINUTE, SECOND, type SqlClient, systemClock } from 'concordat/core'
import { invalidOption, requireInteger, type Transport, within } from 'concordat/extension'
import { lagWithRetries, leavesOutHeld, requireNote } from 'concordat/operator'
import type { OperatorNote } from 'concordat/saga/coordinator'
import { readCursor, writeCursor } from './cursor.ts'
import type {
  DeadLetterAdmin,
  DeadLetterDrop,
  DeadLetterListOptions,
  DeadLetterPage,
  DeadLetterPageOptions,
  DeadLetterPlace,
  DeadLetterRedrive,
  GroupBacklog,
} from './dead-letter-types.ts'
import type { GroupPlace, OperatorTrail, RedriveAfter, RedriveCounts, RedriveReport } from './engine-types.ts'
import type { GroupLine } from './group-lag.ts'
import { OperatorLettersOutOfReach, OperatorTransportMissing } from './operator-errors.ts'
import { countsText } from './redrive-counts-text.ts'

/** Creates a transport: each list or count has its own, which is closed at its end. */
export type OpenTransport = () => Transport | Promise<Transport>

const anything = {
  '~standard': { version: 1 as const, vendor: 'concordat', validate: (value: unknown) => ({ value }) },
}

/** Dead letters of a group have one partition, and this group reads them. */
const LETTERS = { partitions: 1, group: 'redrive' } as const
/** For one page. */
const MAX_WINDOW = 10_000
/** Limit of a reading. */
const MAX_LOOK = 65_535
/** A transport that has not answered by then counts as one that never answers. */
const ANSWER_MS = 1 * MINUTE

type Run = Omit<DeadLetterRedrive, keyof OperatorNote | 'to'> &
  Pick<DeadLetterListOptions, 'payloads'> & {
    readonly to?: DeadLetterRedrive['to'] | 'nowhere'
    readonly after?: RedriveAfter | undefined
    /** Called with each letter that is read. */
    readonly seen?: ((letter: DeadLetter) => void) | undefined
    /** Called with the counts after each letter. */
    readonly counted?: ((counts: RedriveCounts) => void) | undefined
  }

export class TransportDeadLetterAdmin implements DeadLetterAdmin {
  readonly #open: OpenTransport
  readonly #trail: OperatorTrail
  readonly #logger: Logger
  readonly #sql: SqlClient

  /** @param sql has the log of `Operator.groups()` */
  constructor(open: OpenTransport, trail: OperatorTrail, logger: Logger, sql: SqlClient) {
    this.#open = open
    this.#trail = trail
    this.#logger = logger
    this.#sql = sql
  }

  async list(place: DeadLetterPlace, options: DeadLetterListOptions = {}): Promise<readonly DeadLetter[]> {
    const { limit, code, id, among, payloads, lookAt, lookAtBytes } = options
    const { letters } = await this.#run(place, { limit, code, id, among, payloads, lookAt, lookAtBytes, dryRun: true })
    return letters
  }

  async page(place: DeadLetterPlace, options: DeadLetterPageOptions = {}): Promise<DeadLetterPage> {
    const { limit, code, id, among, payloads, lookAtBytes } = options
    const window = requireInteger('letters.page.lookAt', options.lookAt ?? MAX_WINDOW, 1, MAX_WINDOW)
    const after = options.after === undefined ? undefined : afterOf(options.after)
    const lookAt = (after?.skip ?? 0) + window
    const which = { limit, code, id, among, payloads, lookAt: Math.min(lookAt, MAX_LOOK), lookAtBytes }
    let last: string | undefined
    const seen = (letter: DeadLetter): void => void (last = letter.id)
    const {
      letters,
      complete,
      sent,
      kept,
      skipped = 0,
    } = await this.#run(place, { ...which, after, seen, dryRun: true })
    if (complete) return { letters, next: null }
    const looked = skipped + sent + kept
    if (sent + kept === 0 || last === undefined) throw new OperatorLettersOutOfReach(place, looked)
    return { letters, next: writeCursor([String(looked), last]) }
  }

  async redrive(place: DeadLetterPlace, options: DeadLetterRedrive): Promise<RedriveReport> {
    const { limit, code, id, among, to, perSecond, dryRun, lookAt, lookAtBytes, onProgress, signal } = options
    const which = { limit, code, id, among, lookAt, lookAtBytes, onProgress, signal }
    return this.#act('redrive', place, options, { ...which, to, perSecond, dryRun: dryRun !== false })
  }

  async drop(place: DeadLetterPlace, options: DeadLetterDrop): Promise<RedriveReport> {
    const { limit, code, id, among, dryRun, lookAt, lookAtBytes, onProgress, signal } = options
    const which = { limit, code, id, among, lookAt, lookAtBytes, onProgress, signal }
    return this.#act('drop', place, options, { ...which, to: 'nowhere', dryRun: dryRun !== false })
  }

  async count(place: DeadLetterPlace): Promise<number | undefined> {
    const { name } = channelOf(place)
    const letters = { destination: deadLetterName(name, place.group), ...LETTERS }
    const { lag, isReadyOnly } = await this.#backlog(name, letters, lagOf)
    return isReadyOnly ? undefined : lag
  }

  async lag(place: DeadLetterPlace): Promise<number> {
    return (await this.backlog(place)).lag
  }

  async backlog(place: DeadLetterPlace): Promise<GroupBacklog> {
    return withPartitions(place, (of) => {
      const { name, partitions } = channelOf(of)
      return this.#backlog(name, { destination: name, partitions, group: of.group }, lagWithRetries)
    })
  }

  async besideLog(
    groups: readonly GroupLine[],
    places: readonly DeadLetterPlace[],
  ): Promise<readonly DeadLetterPlace[]> {
    const inLog = new Set(groups.map(keyOf))
    const shared = new Set(places.filter((place) => inLog.has(keyOf(place))))
    const counted = await this.#channelsInLog([...shared])
    const found: DeadLetterPlace[] = []
    let answers = true
    for (const place of places) {
      if (counted.has(place.channel) && shared.has(place)) continue
      const there: boolean | undefined = shared.has(place) && answers ? await isThere(this, place) : true
      answers &&= there !== undefined
      if (there !== false) found.push(place)
    }
    return found
  }

  /**
   * Channels whose transport is the log itself. Empty if the transport cannot be created or closed: the same error occurs when
   * it is asked for a group.
   */
  async #channelsInLog(places: readonly DeadLetterPlace[]): Promise<ReadonlySet<string>> {
    if (places.length === 0) return new Set()
    const look = async (): Promise<ReadonlySet<string>> => {
      const transport = await this.#open()
      const isLog = (channel: string): boolean => (transport.ownerOf?.(channel) ?? transport).isOn?.(this.#sql) === true
      const channels = places.map(({ channel }) => channel).filter(isLog)
      await transport.close()
      return new Set(channels)
    }
    const none: ReadonlySet<string> = new Set()
    return within(systemClock, ANSWER_MS, look(), none).catch(() => none)
  }

  /** @param channel whose transport has the place: a function of `combineTransports` may not know the names of dead letters */
  async #backlog(channel: string, group: GroupPlace, count: typeof lagWithRetries): Promise<GroupBacklog> {
    const backlog = await within(systemClock, ANSWER_MS, this.#ask(channel, group, count), undefined)
    if (backlog === undefined) throw unanswered(group)
    return backlog
  }

  async #ask(channel: string, group: GroupPlace, count: typeof lagWithRetries): Promise<GroupBacklog> {
    const transport = await this.#open()
    const instance = `operator-${randomUUID().slice(-12)}`
    transport.attach({ service: 'operator', instance, logger: this.#logger, clock: systemClock })
    try {
      const owner = transport.ownerOf?.(channel) ?? transport
      const lag = await count(owner, group)
      if (lag === undefined) throw new OperatorTransportMissing(`the transport ${owner.name} counts no lag`)
      const uncommitted = lag === 0 ? undefined : await owner.withoutPosition?.(group)
      const isReadyOnly = await leavesOutHeld(owner, group)
      return { lag, isReadyOnly, ...(uncommitted !== undefined && { uncommitted }) }
    } finally {
      await transport.close()
    }
  }

  async #act(
    action: 'redrive' | 'drop',
    place: DeadLetterPlace,
    given: OperatorNote,
    run: Run,
  ): Promise<RedriveReport> {
    const note = requireNote(`letters.${action}`, given)
    if (run.dryRun === true) {
      await this.#trail.requireReady()
      return this.#run(place, run)
    }
    const target = deadLetterName(channelOf(place).name, place.group)
    const deed = { part: 'letters' as const, action, target, note }
    const said = (counts: RedriveCounts): string => countsText(counts, action === 'drop' ? 'dropped' : 'sent back')
    let so: RedriveCounts | undefined
    const counted = (counts: RedriveCounts): void => void (so = counts)
    return this.#trail.around(
      deed,
      () => withPartitions(place, (of) => this.#run(of, { ...run, counted })),
      said,
      () => so && said(so),
    )
  }

  async #run(place: DeadLetterPlace, run: Run): Promise<RedriveReport> {
    const { code, id, among, onProgress, seen, counted, ...options } = run
    const limit = requireInteger('letters.limit', options.limit ?? 100, 1, 10_000)
    const channel = channelOf(place)
    const of = onProgress === undefined ? 0 : await this.count(place)
    const shown = among && new Set(among)
    const transport = await this.#open()
    const filter = (letter: DeadLetter): boolean => {
      seen?.(letter)
      if (shown?.has(letter.id) === false) return false
      return (code === undefined || letter.error.code === code) && (id === undefined || letter.id === id)
    }
    const host = { service: 'operator', transport, logger: this.#logger }
    const tell = (counts: RedriveCounts): void => {
      counted?.(counts)
      onProgress?.({ ...counts, of })
    }
    return redrive(host, channel, place.group, { ...options, onProgress: tell, filter, limit })
  }
}

export const nameOf = ({ channel, group }: DeadLetterPlace): string => `${channel}.${group}`

/** Separates channel and group in a key: `:` occurs in no name of a channel or a group. */
export const keyOf = ({ channel, group }: DeadLetterPlace): string => `${channel}:${group}`

/** Whether the transport has the group; `undefined` when it does not answer. */
export async function isThere(
  letters: Pick<DeadLetterAdmin, 'backlog'>,
  place: DeadLetterPlace,
): Promise<boolean | undefined> {
  try {
    await letters.backlog(place)
    return true
  } catch (error) {
    const isMissing =
      error instanceof OperatorTransportMissing || (error instanceof TransportError && error.kind === 'unroutable')
    return isMissing ? false : undefined
  }
}

function unanswered({ destination, group }: GroupPlace): TransportError {
  const asked = `counting the messages of the group "${group}" on "${destination}"`
  const message = `${asked}: the transport did not answer within ${ANSWER_MS / SECOND} s`
  return new TransportError({ transport: 'unknown', kind: 'timeout', destination, message })
}

async function lagOf(transport: Pick<Transport, 'lag'>, place: GroupPlace): Promise<number | undefined> {
  return transport.lag?.(place)
}

/** @throws TypeError */
function afterOf(cursor: string): RedriveAfter {
  const [skip = '', id = ''] = readCursor('letters.page.after', cursor, 2)
  const path = 'letters.page.after'
  if (id === '') throw invalidOption(path, cursor, 'what `next` of the page before was')
  return { skip: requireInteger(path, Number(skip), 1, MAX_LOOK), id }
}

/** The broker refuses a wrong number of partitions before anything is done, and its error contains the right one. */
async function withPartitions<T>(place: DeadLetterPlace, work: (place: DeadLetterPlace) => Promise<T>): Promise<T> {
  try {
    return await work(place)
  } catch (error) {
    const partitions = place.partitions === undefined && error instanceof TransportError ? error.partitions : undefined
    if (partitions === undefined) throw error
    return work({ ...place, partitions })
  }
}

/**
 * Passes bytes on unchanged: no payload is read. The channel's declaration is not known, so its groups may settle without an
 * inbox.
 */
function channelOf({ channel, partitions }: DeadLetterPlace): Channel {
  return defineChannel(channel, { payload: anything, partitions, transactional: true }) as unknown as Channel
}
