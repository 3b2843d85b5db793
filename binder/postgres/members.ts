import { CoalescedRuns } from './coalesced-runs.ts'
import type { LogContext } from './context.ts'
import { PartitionClaims } from './partition-claims.ts'
import { type GroupNow, shareOf } from './process-lease.ts'
import type { LogSubscription } from './subscription.ts'
import { failure, LOG_MADE_AGAIN } from './transport-errors.ts'

/** Interval of heartbeats and checks of other members. */
const BEAT_MS = 1_000

/** Result of the last renewal of the session. */
interface Beat {
  readonly found: ReadonlyMap<number, GroupNow>
  /** True if this process was stopped, and must not take everything before the others could send heartbeats. */
  readonly stoodStill: boolean
}

/**
 * The subscriptions with a group: sends heartbeats of this process, and takes or gives partitions until the shares fit. The two
 * run separately, because taking waits for an open transaction that has written the same partition, and the session would end
 * meanwhile.
 */
export class Members {
  readonly #context: LogContext
  readonly #moved: (group: number) => void
  readonly #subscriptions: Set<LogSubscription> = new Set()
  /** Number of partitions of a group's destination. */
  readonly #partitions: Map<LogSubscription, number> = new Map()
  readonly #claims: PartitionClaims
  readonly #renewals = new CoalescedRuns(() => this.#renew())
  readonly #balances = new CoalescedRuns(() => this.#balance())
  #beat: Beat | undefined
  #cancel: (() => void) | undefined
  #lastBeat: number | undefined
  #isTidy = false
  #closed = false

  /** @param moved makes other members check: a partition is free, or a member joined */
  constructor(context: LogContext, moved: (group: number) => void) {
    this.#context = context
    this.#moved = moved
    this.#claims = new PartitionClaims(context, this.#subscriptions)
  }

  /** Joins the members. @throws TransportError: it may already hold partitions, which `close` gives back */
  async join(subscription: LogSubscription, partitions: number): Promise<void> {
    this.#subscriptions.add(subscription)
    this.#partitions.set(subscription, partitions)
    try {
      if (!this.#isTidy) await this.#context.session.tidy(this.#context.options.sql.exclusive)
      this.#isTidy = true
      await this.#renewals.run()
      await this.#balances.run()
    } catch (error) {
      // Takes no more for it. Its partitions count as held until they are given back.
      this.#partitions.delete(subscription)
      throw error
    }
    if (subscription.group !== undefined) this.#moved(subscription.group)
    this.#beatIn()
  }

  async leave(subscription: LogSubscription): Promise<void> {
    if (!this.#subscriptions.delete(subscription)) return
    const hasJoined = this.#partitions.delete(subscription)
    if (subscription.group !== undefined) this.unsure(subscription.group)
    // A failed join means that the server was unreachable, so the next heartbeat notifies the others.
    if (this.#closed || !hasJoined) return
    await this.look()
    if (subscription.group !== undefined) this.#moved(subscription.group)
  }

  /** The result of giving or taking a partition of this group is unknown: heartbeats free partitions left behind. */
  unsure(group: number): void {
    this.#claims.unsure(group)
  }

  /** Checks after a member joined or left, or a partition was lost. Never rejects. */
  async look(): Promise<void> {
    try {
      await this.#renewals.run()
      await this.#balances.run()
    } catch (error) {
      this.#failed(error)
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#cancel?.()
    await Promise.all([this.#renewals.idle(), this.#balances.idle()])
    if (this.#isTidy) await this.#context.session.end().catch(() => undefined)
  }

  #beatIn(): void {
    if (this.#closed || this.#cancel !== undefined || this.#subscriptions.size === 0) return
    const { host, options } = this.#context
    this.#cancel = host.clock.setTimer(Math.min(BEAT_MS, options.leaseMs / 3), () => {
      this.#cancel = undefined
      const renewed = this.#renewals.run()
      const beatIn = (): void => this.#beatIn()
      void renewed.then(beatIn, beatIn)
      void renewed.then(() => this.#balances.run()).catch((error: unknown) => this.#failed(error))
    })
  }

  async #renew(): Promise<void> {
    if (this.#closed) return
    const { session, options, host } = this.#context
    const all = [...this.#subscriptions].filter((each) => each.group !== undefined)
    const stoodStill = this.#lastBeat !== undefined && host.clock.monotonic() - this.#lastBeat > options.leaseMs
    const found = await session.renew(
      all.map((each) => each.group as number),
      () => all.forEach((member) => member.forfeit()),
    )
    this.#lastBeat = host.clock.monotonic()
    this.#beat = { found, stoodStill }
    for (const member of all) this.#loseWithout(member, found.get(member.group as number))
  }

  /**
   * Ends it if its group is gone, or another group has its number. The next subscription creates the group, or gets the reason.
   */
  #loseWithout(member: LogSubscription, group: GroupNow | undefined): void {
    if (isOf(member, group)) return
    const { destination, group: name } = member.spec
    const forgotten = `the group "${name}" of "${destination}" was forgotten while this process read in it`
    member.lost(failure('unavailable', group === undefined ? forgotten : LOG_MADE_AGAIN, { destination }))
  }

  async #balance(): Promise<void> {
    if (this.#closed || this.#beat === undefined) return
    for (const group of await this.#claims.free()) this.#moved(group)
    const { found, stoodStill } = this.#beat
    if (stoodStill) return
    const ranks = new Map<number, number>()
    const members = [...this.#subscriptions].filter((each) => each.group !== undefined)
    for (const member of members) {
      const group = member.group as number
      const now = found.get(group)
      if (!isOf(member, now)) continue
      const rank = ranks.get(group) ?? 0
      ranks.set(group, rank + 1)
      await this.#fit(member, now, rank, members.filter((each) => each.group === group).length)
    }
  }

  async #fit(member: LogSubscription, { others, before }: GroupNow, rank: number, mine: number): Promise<void> {
    const partitions = this.#partitions.get(member)
    if (partitions === undefined || member.isOver) return
    const share = shareOf(partitions, others + mine, before + rank)
    if (member.kept > share) {
      void member.giveBack(member.kept - share).then(() => {
        if (member.group !== undefined) this.#moved(member.group)
      })
    } else if (member.kept < share) await this.#claims.take(member, share - member.kept)
  }

  #failed(error: unknown): void {
    if (this.#context.session.isValid()) {
      this.#context.host.logger.debug({ err: error }, 'could not renew the session with PostgreSQL')
      return
    }
    const reason = error instanceof Error ? error : new Error('the session with PostgreSQL is over')
    for (const subscription of this.#subscriptions) subscription.lost(reason)
  }
}

function isOf({ spec, log }: LogSubscription, group: GroupNow | undefined): group is GroupNow {
  return group?.destination === spec.destination && group.name === spec.group && group.log === log
}
