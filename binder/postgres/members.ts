import { TransportError } from '../errors.ts'
import type { LogContext } from './context.ts'
import { failure, LOG_MADE_AGAIN } from './failure.ts'
import { ClaimedPartition } from './partition-fetch-buffer.ts'
import { type GroupNow, shareOf } from './process-lease.ts'
import { GroupSource, type GroupSourceFields } from './source.ts'
import type { LogSubscription } from './subscription.ts'
import { TransactionalSettlement } from './transactional-settlement.ts'

interface ClaimedRow {
  readonly part: number
  readonly n: number
  readonly ver: string
  readonly epoch: string
  readonly settled: string
  readonly handed: string
  readonly done: readonly string[] | readonly number[]
}

/** How often it says that it lives, and looks who else does. */
const BEAT_MS = 1_000
/** Time for a statement to end that the server may still execute although its client gave up. */
const UNSURE_MS = 60_000

/** The subscriptions with a group: says that this process lives, and takes or gives partitions until the shares fit. */
export class Members {
  readonly #context: LogContext
  readonly #moved: (group: number) => void
  readonly #subscriptions: Set<LogSubscription> = new Set()
  /** How many partitions a group's destination has. */
  readonly #partitions: Map<LogSubscription, number> = new Map()
  #beating: Promise<void> | undefined
  #isAsked = false
  #cancel: (() => void) | undefined
  #lastBeat: number | undefined
  #isTidy = false
  /** Groups of which the server may take this process for the holder of a partition that no subscription has. */
  readonly #unsure = new Map<number, number>()
  #closed = false

  /** @param moved tells other members to look: a partition is free, or a member joined */
  constructor(context: LogContext, moved: (group: number) => void) {
    this.#context = context
    this.#moved = moved
  }

  /** Takes a place among the members. @throws TransportError: it may hold partitions already, which `close` gives back */
  async join(subscription: LogSubscription, partitions: number): Promise<void> {
    this.#subscriptions.add(subscription)
    this.#partitions.set(subscription, partitions)
    try {
      if (!this.#isTidy) await this.#context.session.tidy(this.#context.options.sql.exclusive)
      this.#isTidy = true
      await this.#beat()
    } catch (error) {
      // Nothing more is taken for it. What it has counts as held until it is given back.
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
    // A failed join has just failed to reach the server: the next beat notifies the others.
    if (this.#closed || !hasJoined) return
    await this.look().catch(() => undefined)
    if (subscription.group !== undefined) this.#moved(subscription.group)
  }

  /** The answer to giving or taking a place of this group is unknown: beats free what was left behind. */
  unsure(group: number): void {
    this.#unsure.set(group, this.#context.host.clock.monotonic() + UNSURE_MS)
  }

  /** A member came or left, or a partition was lost. */
  look(): Promise<void> {
    return this.#beat().catch((error: unknown) => this.#failed(error))
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#cancel?.()
    await this.#beating?.catch(() => undefined)
    if (this.#isTidy) await this.#context.session.end().catch(() => undefined)
  }

  #beatIn(): void {
    if (this.#closed || this.#cancel !== undefined || this.#subscriptions.size === 0) return
    const { host, options } = this.#context
    this.#cancel = host.clock.setTimer(Math.min(BEAT_MS, options.leaseMs / 3), () => {
      this.#cancel = undefined
      void this.look().finally(() => this.#beatIn())
    })
  }

  /** Sends one heartbeat at a time; a call during one gets the next. */
  async #beat(): Promise<void> {
    if (this.#beating !== undefined) {
      this.#isAsked = true
      await this.#beating.catch(() => undefined)
      if (!this.#isAsked) return this.#beating
    }
    this.#isAsked = false
    const beating = this.#balance()
    this.#beating = beating
    try {
      await beating
    } finally {
      if (this.#beating === beating) this.#beating = undefined
    }
  }

  async #balance(): Promise<void> {
    const { session, options, host } = this.#context
    const all = [...this.#subscriptions].filter((each) => each.group !== undefined)
    const groups = all.map((each) => each.group as number)
    // A process that stood still must not take everything before the others could say that they live.
    const stoodStill = this.#lastBeat !== undefined && host.clock.monotonic() - this.#lastBeat > options.leaseMs
    const { found, wasOver } = await session.renew(groups)
    this.#lastBeat = host.clock.monotonic()
    const members = all.filter((member) => this.#isThere(member, found.get(member.group as number)))
    if (wasOver) for (const member of members) member.forfeit()
    for (const [group, until] of this.#unsure) await this.#free(group, until)
    if (stoodStill) return
    const ranks = new Map<number, number>()
    for (const member of members) {
      const group = member.group as number
      const rank = ranks.get(group) ?? 0
      ranks.set(group, rank + 1)
      await this.#fit(member, found.get(group) as GroupNow, rank, groups.filter((each) => each === group).length)
    }
  }

  /** Ends it if its group is gone, or another one has its number. The next subscription makes the group, or gets the reason. */
  #isThere(member: LogSubscription, group: GroupNow | undefined): boolean {
    const { destination, group: name } = member.spec
    if (group?.destination === destination && group.name === name && group.log === member.log) return true
    const forgotten = `the group "${name}" of "${destination}" was forgotten while this process read in it`
    member.lost(failure('unavailable', group === undefined ? forgotten : LOG_MADE_AGAIN, { destination }))
    return false
  }

  async #fit(member: LogSubscription, { others, before }: GroupNow, rank: number, mine: number): Promise<void> {
    const partitions = this.#partitions.get(member)
    if (partitions === undefined || member.isOver) return
    const share = shareOf(partitions, others + mine, before + rank)
    if (member.kept > share) {
      void member.giveBack(member.kept - share).then(() => {
        if (member.group !== undefined) this.#moved(member.group)
      })
    } else if (member.kept < share) await this.#claim(member, share - member.kept)
  }

  /**
   * Frees partitions that this process holds without a subscription. During the session no other process may take them, and it takes no more
   * than its share itself. A statement in flight may still take one, or have done so while this waited: beats look again until none is left
   * and `until` has passed.
   */
  async #free(group: number, until: number): Promise<void> {
    const { database, tables, session, host } = this.#context
    const { rows } = await database.query<{ mine: number; freed: number }>(
      'free partitions that were left behind',
      `WITH mine AS (
         SELECT l.* FROM ${tables.group} g JOIN ${tables.partition} p USING (destination) CROSS JOIN LATERAL (
           SELECT * FROM ${tables.progress} x WHERE x.grp = $1 AND x.part = p.id ORDER BY x.ver DESC LIMIT 1
         ) l WHERE g.id = $1 AND l.owner = $2 AND p.id <> ALL ($3::int[])
       ), freed AS (
         INSERT INTO ${tables.progress} SELECT grp, part, ver + 1, epoch, NULL, settled, handed, done FROM mine
         ON CONFLICT DO NOTHING RETURNING part
       ) SELECT (SELECT count(*) FROM mine)::int AS mine, (SELECT count(*) FROM freed)::int AS freed`,
      [group, session.owner, this.#heldOf(group)],
    )
    const { mine = 0, freed = 0 } = rows[0] ?? {}
    if (freed > 0) this.#moved(group)
    if (mine === 0 && host.clock.monotonic() >= until && this.#unsure.get(group) === until) this.#unsure.delete(group)
  }

  #heldOf(group: number): readonly number[] {
    return [...this.#subscriptions].flatMap((each) => (each.group === group ? each.parts : []))
  }

  async #claim(member: LogSubscription, want: number): Promise<void> {
    const { database, tables, session } = this.#context
    const { destination, group: name } = member.spec
    const group = member.group as number
    const claimed = database.query<ClaimedRow>(
      'take partitions',
      `SELECT c.part, c.n, c.ver::text AS ver, c.epoch::text AS epoch, c.settled::text AS settled, c.handed::text AS handed, c.done
       FROM ${tables.group} g CROSS JOIN LATERAL ${tables.claim}(g.id, $2, $3::int[], $4) c
       WHERE g.id = $1 AND g.destination = $5 AND g.name = $6`,
      [group, session.owner, this.#heldOf(group), want, destination, name],
    )
    const { rows } = await claimed.catch((error: unknown) => {
      // The statement may have succeeded anyway.
      this.unsure(group)
      throw error
    })
    for (const row of rows) {
      const place = new ClaimedPartition({
        settled: Number(row.settled),
        handed: Number(row.handed),
        done: row.done.map(Number),
      })
      const source = new GroupSource({ ...sourceFields(this.#context, member), group, owner: session.owner }, row)
      source.tidy()
      member.hold(source, place)
    }
    if (rows.length === want) return
    // Others hold the rest, unless there is no rest.
    const now = await this.#context.directory.group(destination, name as string)
    if (now instanceof TransportError) member.lost(now)
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

function sourceFields(
  { database, tables, host, options }: LogContext,
  { spec }: LogSubscription,
): Omit<GroupSourceFields, 'group' | 'owner'> {
  const { settlesIn } = spec
  const { leaseMs, sql } = options
  const isInside = settlesIn instanceof TransactionalSettlement && settlesIn.of === sql
  const writers = settlesIn === undefined ? 'one' : isInside ? 'inside' : 'beside'
  return { database, tables, clock: host.clock, leaseMs, writers }
}
