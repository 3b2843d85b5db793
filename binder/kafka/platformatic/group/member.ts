/**
 * One member of a group, on the protocol itself.
 *
 *   opening -> joining -> member --rebalance--> handing over -> joining -> member ...
 *                           \_ close() or lost, from anywhere: ended
 *
 * A term begins with a join and a share of the partitions, and ends when the group wants to share out anew, has forgotten this
 * member, or the topic got more partitions. Between two terms what is lent is settled and committed under the place of the
 * old one, so that no key is in two places. What is lent and how far it is finished is `PartitionLending`'s; commits are the lowest
 * unfinished offset (`Commits`). When nothing answers for a session timeout the subscription is lost, and the binder makes a
 * new one.
 */
import { type Clock, SECOND } from '../../../../core/clock.ts'
import { toError } from '../../../../core/errors.ts'
import type { Logger } from '../../../../core/logger.ts'
import { ended } from '../../../transport/kit/deadline.ts'
import type { Receiver } from '../../../transport/transport.ts'
import type { Member, MemberEvents, MemberSpec } from '../../driver.ts'
import { AnsweredFetches } from '../../group/answered-fetches.ts'
import { fetchSizes, partitionWindow } from '../../group/fetch-buffer-limits.ts'
import { Heartbeat } from '../../group/heartbeat.ts'
import { MemberState } from '../../group/member-lifecycle.ts'
import { OffsetHandover } from '../../group/offset-handover.ts'
import type { SessionTimeout } from '../../group/session-timeout.ts'
import { ConnectFailed, toTransportError } from '../errors.ts'
import { type Cluster, isPassing } from '../network/cluster.ts'
import { KafkaRefusal } from '../protocol/errors.ts'
import type { FetcherSettings } from './fetcher.ts'
import { GroupSession, type Term } from './group-session.ts'
import { RecreatedTopicCheck } from './recreated-topic-check.ts'
import { RunningTerm } from './running-term.ts'
import { StartPositions } from './start-positions.ts'

const CLOSE_MS = 5 * SECOND
/** The first fetch is answered at once, with what there is. */
const FIRST_FETCH_MS = 1 * SECOND

export interface MemberSettings {
  readonly sessionTimeoutMs: number
  readonly heartbeatIntervalMs: number
  readonly rebalanceTimeoutMs: number
  readonly connectTimeoutMs: number
  readonly requestTimeoutMs: number
  readonly commitIntervalMs: number
  readonly maxWaitMs: number
  readonly maxBatchBytes: number
}

export interface MemberHost extends MemberEvents {
  readonly settings: MemberSettings
  readonly clock: Clock
  readonly logger: Logger
  readonly cluster: Cluster
}

export class GroupMember implements Member {
  readonly #spec: MemberSpec
  readonly #host: MemberHost
  readonly #receiver: Receiver
  readonly #session: GroupSession
  readonly #sameTopic: RecreatedTopicCheck
  readonly #life: MemberState
  readonly #progress: OffsetHandover
  readonly #starts: StartPositions
  readonly #heart: Heartbeat
  readonly #fetches = new AnsweredFetches()
  #term: RunningTerm | undefined
  #isPaused = false
  /** The group shares out anew, or this place in it is gone. */
  #isShareOver = false

  constructor(spec: MemberSpec, host: MemberHost, receiver: Receiver) {
    const { clock, settings, logger, cluster } = host
    this.#spec = spec
    this.#host = host
    this.#receiver = receiver
    this.#life = new MemberState(spec, receiver, {
      toTransportError,
      onAnswer: (error) => host.onAnswer(error),
      current: () => this.#term?.lending,
      shutDown: (reason, flush) => this.#shutDown(reason, flush),
    })
    this.#progress = new OffsetHandover(spec, {
      ...settings,
      clock,
      logger,
      current: () => this.#term?.lending,
      onCommitsRefused: (error) => this.#term?.commitsRefused(error),
      recall: () => receiver.recall(),
      isHeld: () => receiver.isHeld?.() === true,
    })
    this.#session = new GroupSession({ ...spec, ...settings }, cluster, clock)
    this.#sameTopic = new RecreatedTopicCheck({
      topic: () => cluster.freshTopic(spec.topic),
      committed: (partitions) => this.#session.committed(partitions),
      committer: () => this.#session.committer(),
      onRemade: () => this.#remade(),
    })
    this.#progress.commits.use((positions) => this.#sameTopic.commit(positions))
    this.#starts = new StartPositions({
      ...host,
      remembered: spec.startAt && this.#progress.carried,
      sameTopic: this.#sameTopic,
      session: this.#session,
      isWanted: () => !this.#life.isOver && !this.#isShareOver,
    })
    this.#heart = new Heartbeat(
      clock,
      { ...settings, joinTimeoutMs: settings.rebalanceTimeoutMs + settings.connectTimeoutMs },
      {
        onLost: (error) => this.#life.lost(error),
        onExpelled: (error) => this.#expelled(error),
        onRebalance: () => this.#shareIsOver(),
        onSilence: (error) => host.onAnswer(error),
      },
    )
    this.#heart.use(() => beat(this.#session, this.#heart.membership, host))
  }

  open(): Promise<void> {
    return this.#life.open(
      async () => {
        this.#heart.membership.joining()
        this.#heart.start()
        this.#run().catch((error: unknown) => this.#life.lost(error))
      },
      () => ended(this.#host.clock, FIRST_FETCH_MS, this.#fetches.heard),
    )
  }

  pause(): void {
    this.#isPaused = true
    this.#term?.setPaused(true)
  }

  resume(): void {
    this.#isPaused = false
    this.#term?.setPaused(false)
  }

  finishGaps(over: AbortSignal): Promise<void> {
    return this.#progress.finishGaps(over)
  }

  close(): Promise<void> {
    return this.#life.close()
  }

  ended(): Promise<void> {
    return this.#life.ended()
  }

  // ---- terms

  async #run(): Promise<void> {
    while (!this.#life.isOver) {
      this.#heart.membership.joining()
      const joined = await this.#session.join((after) => this.#requireLife(after))
      this.#heart.joined(joined.askedAt)
      this.#isShareOver = false
      this.#host.onAnswer()
      const term = await this.#begin(joined)
      if (term === undefined) continue
      await term.rejoin.promise
      await this.#handOver(term)
    }
  }

  /**
   * Until the subscription is first open, a connection failure is thrown to the caller, who retries. After that the member itself keeps
   * retrying.
   */
  #requireLife(after?: unknown): void {
    if (this.#life.isOver) throw new Error('the subscription has ended')
    if (this.#life.isOpening && (after instanceof ConnectFailed || after instanceof AggregateError)) throw after
  }

  /** Resolves with nothing when the share was gone before it could be used: join again. */
  async #begin(joined: Term): Promise<RunningTerm | undefined> {
    const { topic, groupId } = this.#spec
    const positions = await this.#starts.of(joined.partitions)
    if (positions === undefined || this.#life.isOver || this.#isShareOver) return undefined
    const term = new RunningTerm(joined, {
      ...this.#host,
      ...this.#spec,
      receiver: this.#receiver,
      isCertain: () => this.#heart.membership.isCertain(),
      fetching: fetcherOptions(this.#spec, this.#host.settings),
      onProgress: (assigned) => this.#progress.mark(assigned),
      fetches: this.#fetches,
      sameTopic: this.#sameTopic,
      onLost: (error) => this.#life.lost(error),
    })
    this.#term = term
    if (this.#isPaused) term.setPaused(true)
    term.start(positions)
    this.#host.logger.debug({ topic, group: groupId, partitions: joined.partitions }, 'joined a Kafka group')
    this.#life.joined()
    return term
  }

  async #handOver(term: RunningTerm): Promise<void> {
    this.#heart.membership.leaving()
    term.hold()
    await this.#progress.handOver(term.lending)
    term.end(new Error('the group is rebalancing: the partition may have gone to another member'))
    if (this.#term === term) this.#term = undefined
  }

  // ---- the place in the group

  /** Unsettled messages come back through the broker: there is nothing to wait for. */
  #expelled(error: unknown): void {
    this.#term?.lending.withdraw(toError(error))
    this.#shareIsOver()
  }

  /** Joining anew reads what the group has committed, which is nothing. */
  #remade(): void {
    const { topic, groupId } = this.#spec
    this.#host.logger.warn({ topic, group: groupId }, 'the topic was deleted and made again: reading from the first')
    this.#progress.commits.reset()
    this.#expelled(new Error('the topic was deleted and made again'))
  }

  #shareIsOver(): void {
    this.#isShareOver = true
    this.#term?.rejoin.resolve()
  }

  async #shutDown(reason: Error, flush: boolean): Promise<void> {
    const { clock, cluster } = this.#host
    const term = this.#term
    this.#heart.stop()
    this.#fetches.stop()
    term?.hold()
    await this.#progress.end(flush)
    term?.end(reason)
    await ended(clock, CLOSE_MS, this.#session.leave())
    cluster.close()
    term?.rejoin.resolve()
    await this.#host.onEnd()
  }
}

/** Sends a heartbeat when one is due. @throws KafkaRefusal of a coordinator that counts this member out */
async function beat(session: GroupSession, membership: SessionTimeout, host: MemberEvents): Promise<void> {
  if (!session.isBeatDue) return
  const sentAt = membership.now()
  try {
    await session.heartbeat()
  } catch (error) {
    // The coordinator is about to be another one: no reason to share out anew.
    if (!(error instanceof KafkaRefusal) || !isPassing(error.type)) throw error
    host.onAnswer(error)
    return
  }
  membership.confirmed(sentAt)
  host.onAnswer()
}

function fetcherOptions(
  spec: MemberSpec,
  { maxWaitMs, requestTimeoutMs, maxBatchBytes }: MemberSettings,
): FetcherSettings {
  return {
    topic: spec.topic,
    window: partitionWindow(spec),
    maxWaitMs,
    requestTimeoutMs,
    maxBatchBytes,
    ...fetchSizes(spec),
  }
}
