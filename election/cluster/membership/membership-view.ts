import { lastingContext } from '../../../core/async-contexts.ts'
import { toError } from '../../../core/errors.ts'
import { Replica, type SnapshotReason } from '../store/cluster-replica.ts'
import type { Generation, LogEntry, MemberRecord, MemberTransition } from '../store/cluster-store.ts'
import { decodeFrozen } from '../store/encode-cluster-data.ts'
import { deliver, type Watch, WatchEventQueue } from '../store/watch-event-queue.ts'
import type { Member, MemberMeta, MembershipEvent, MembershipView } from './membership.ts'
import type { ResolvedMembership } from './membership-options.ts'

interface Seen {
  readonly record: MemberRecord
  readonly member: Member
}

const GONE: ReadonlySet<MemberTransition> = new Set(['left', 'dead', 'replaced'])

/** This process's view of the cluster, with its watchers. */
export class ClusterView {
  readonly #options: ResolvedMembership
  readonly #replica: Replica<Seen, readonly MembershipEvent[]>
  readonly #feeds = new Set<WatchEventQueue<MembershipEvent>>()
  #view: MembershipView | undefined

  /** @param mayRestore true while this process is a member, so that it restores a store that lost everything */
  constructor(options: ResolvedMembership, mayRestore: () => boolean) {
    const { store, cluster, clock, logger } = options
    this.#options = options
    this.#replica = new Replica({
      store,
      log: { cluster, state: undefined },
      clock,
      logger,
      source: {
        read: async () => {
          let reading = await store.members(cluster)
          if (reading.revision === 0 && this.#replica.items.size > 0 && mayRestore()) {
            await this.restore()
            reading = await store.members(cluster)
          }
          return {
            revision: reading.revision,
            items: reading.records.map((record) => [record.instance, see(record)] as const),
          }
        },
        apply: (items, entry) => this.#apply(items, entry),
      },
    })
    this.#replica.listen({ onSnapshot: () => (this.#view = undefined), onEntry: () => {} })
  }

  open(signal?: AbortSignal): Promise<void> {
    return this.#replica.open(signal)
  }

  get(): MembershipView {
    this.#view ??= {
      version: this.#replica.revision,
      members: Object.freeze(
        [...this.#replica.items.values()]
          .map(({ member }) => member)
          .sort((a, b) => (a.instance < b.instance ? -1 : 1)),
      ),
    }
    return this.#view
  }

  has(instance: string, generation: number): boolean {
    return this.#replica.items.get(instance)?.record.generation === generation
  }

  /** Restores the cluster in a store that lost it. @returns false when `member` is not known here */
  async restore(member?: Generation): Promise<boolean> {
    if (member !== undefined && !this.has(member.instance, member.generation)) return false
    const records = [...this.#replica.items.values()].map(({ record }) => record)
    await this.#options.store.restore(this.#options.cluster, records)
    return true
  }

  /** Calls `listener` after every change. */
  onChange(listener: () => void): () => void {
    return this.#replica.listen({ onSnapshot: listener, onEntry: listener })
  }

  watch(listener: (event: MembershipEvent) => void | Promise<void>): Watch {
    const { logger, cluster } = this.#options
    const feed = this.feed()
    lastingContext()(() => deliver(feed, listener, logger)).catch((error: unknown) => {
      logger.error({ cluster, err: toError(error) }, 'membership: a watch ended')
    })
    return feed
  }

  feed(): WatchEventQueue<MembershipEvent> {
    const unlisten = this.#replica.listen({
      onSnapshot: (reason) => feed.push(this.#snapshot(reason)),
      onEntry: (events) => {
        for (const event of events) feed.push(event)
      },
    })
    const feed: WatchEventQueue<MembershipEvent> = new WatchEventQueue({
      maxPending: this.#options.maxPending,
      everything: () => this.#snapshot('slow'),
      upTo: () => this.#replica.revision,
      onStop: () => {
        unlisten()
        this.#feeds.delete(feed)
      },
    })
    this.#feeds.add(feed)
    if (this.#replica.isLive) feed.push(this.#snapshot('first'))
    // The membership was closed meanwhile, and the feed has ended; or the store was, and there will be no events.
    else this.#replica.open().catch((error: unknown) => feed.stop(error))
    return feed
  }

  close(reason: Error): void {
    for (const feed of this.#feeds) feed.stop()
    this.#replica.close(reason)
  }

  #snapshot(reason: SnapshotReason): MembershipEvent {
    const view = this.get()
    if (reason === 'first') return { type: 'view', version: view.version, view }
    return { type: 'resync', reason, version: view.version, view }
  }

  #apply(items: Map<string, Seen>, entry: LogEntry): MembershipEvent[] {
    const events: MembershipEvent[] = []
    for (const change of entry.changes) {
      if (!('member' in change)) continue
      const { instance } = change.member
      const seen = see(change.member)
      if (GONE.has(change.kind)) items.delete(instance)
      else items.set(instance, seen)
      this.#view = undefined
      events.push(toEvent(change.kind, entry.revision, seen.member, this.get()))
    }
    // An entry without a change also moves the version.
    this.#view = undefined
    return events
  }
}

function toEvent(kind: MemberTransition, version: number, member: Member, view: MembershipView): MembershipEvent {
  if (kind === 'dead') return { type: 'dead', reason: 'silent', version, member, view }
  if (kind === 'replaced') return { type: 'dead', reason: 'replaced', version, member, view }
  return { type: kind, version, member, view }
}

function see(record: MemberRecord): Seen {
  const { service, group, meta } = saidIn(record)
  const { instance, generation, status, joinedAt } = record
  const grouped = group === undefined ? {} : { group }
  return { record, member: Object.freeze({ instance, generation, service, ...grouped, meta, status, joinedAt }) }
}

/** An invalid record of another program does not hide other members: its member has no description. */
function saidIn({ instance, json }: MemberRecord): { service: string; group?: string | undefined; meta: MemberMeta } {
  let said: unknown
  try {
    said = decodeFrozen(`member "${instance}"`, json)
  } catch {
    said = undefined
  }
  const { service, group, meta } = (said ?? {}) as Readonly<Record<string, unknown>>
  return {
    service: typeof service === 'string' ? service : '',
    group: typeof group === 'string' ? group : undefined,
    meta: typeof meta === 'object' && meta !== null ? (meta as MemberMeta) : NO_META,
  }
}

const NO_META: MemberMeta = Object.freeze({})
