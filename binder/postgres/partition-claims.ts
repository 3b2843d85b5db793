import { TransportError } from '../errors.ts'
import { ClaimedPartition } from './claimed-partition.ts'
import type { LogContext } from './context.ts'
import { GroupSource, type GroupSourceFields } from './partition-sources.ts'
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

/** Time after which a statement whose client gave up has most likely ended. The check of all groups finds later ones. */
const UNSURE_MS = 60_000

/**
 * Takes partitions for subscriptions, and frees those that this process holds for none of them, because the server may execute a
 * statement whose client has given up at any time.
 */
export class PartitionClaims {
  readonly #context: LogContext
  readonly #subscriptions: ReadonlySet<LogSubscription>
  /** Groups for which the server may list this process as the holder of a partition without a subscription. */
  readonly #unsure = new Map<number, number>()
  #lookAtAllAt = 0

  constructor(context: LogContext, subscriptions: ReadonlySet<LogSubscription>) {
    this.#context = context
    this.#subscriptions = subscriptions
    this.#lookAtAllIn()
  }

  /** Records that the result of giving or taking a partition of this group is unknown. */
  unsure(group: number): void {
    this.#unsure.set(group, this.#context.host.clock.monotonic() + UNSURE_MS)
  }

  /**
   * Frees partitions that this process holds without a subscription: during its session no other process may take them, and it
   * takes no more than its share itself. Checks the groups that are `unsure` each time and all of them once a minute.
   * @returns the groups in which a partition was freed
   */
  async free(): Promise<readonly number[]> {
    const { database, tables, session, host } = this.#context
    const now = host.clock.monotonic()
    const isForAll = now >= this.#lookAtAllAt
    const unsure = new Map(this.#unsure)
    const groups = new Set(unsure.keys())
    if (isForAll) for (const { group } of this.#subscriptions) if (group !== undefined) groups.add(group)
    if (groups.size === 0) return []
    const held = [...this.#subscriptions].flatMap(({ group, parts }) => parts.map((part) => ({ group, part })))
    const { rows } = await database.query<{ grp: number; freed: number }>(
      'free partitions that were left behind',
      `WITH mine AS (
         SELECT l.* FROM ${tables.group} g JOIN ${tables.partition} p USING (destination) CROSS JOIN LATERAL (
           SELECT * FROM ${tables.progress} x WHERE x.grp = g.id AND x.part = p.id ORDER BY x.ver DESC LIMIT 1
         ) l WHERE g.id = ANY ($1::int[]) AND l.owner = $2
           AND NOT EXISTS (SELECT FROM unnest($3::int[], $4::int[]) AS h(grp, part) WHERE h.grp = g.id AND h.part = p.id)
       ), freed AS (
         INSERT INTO ${tables.progress} SELECT grp, part, ver + 1, epoch, NULL, settled, handed, done FROM mine
         ON CONFLICT DO NOTHING RETURNING grp, part
       ) SELECT m.grp, count(f.part)::int AS freed FROM mine m LEFT JOIN freed f USING (grp, part) GROUP BY 1`,
      [[...groups], session.owner, held.map(({ group }) => group ?? null), held.map(({ part }) => part)],
    )
    if (isForAll) this.#lookAtAllIn()
    const found = new Set(rows.map(({ grp }) => grp))
    for (const [group, until] of unsure)
      if (!found.has(group) && now >= until && this.#unsure.get(group) === until) this.#unsure.delete(group)
    return rows.flatMap(({ grp, freed }) => (freed > 0 ? [grp] : []))
  }

  /** @param want maximum number */
  async take(member: LogSubscription, want: number): Promise<void> {
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
      // The statement may have succeeded nevertheless.
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
    // Other members hold the rest, unless there is none.
    const now = await this.#context.directory.group(destination, name as string)
    if (now instanceof TransportError) member.lost(now)
  }

  #heldOf(group: number): readonly number[] {
    return [...this.#subscriptions].flatMap((each) => (each.group === group ? each.parts : []))
  }

  #lookAtAllIn(): void {
    this.#lookAtAllAt = this.#context.host.clock.monotonic() + UNSURE_MS
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
