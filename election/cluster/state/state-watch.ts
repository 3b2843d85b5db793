import { lastingContext } from '../../../core/async-contexts.ts'
import { hasCode } from '../../../core/errors.ts'
import type { Replica, SnapshotReason } from '../store/cluster-replica.ts'
import { deliver, type Watch, WatchEventQueue } from '../store/watch-event-queue.ts'
import type { StateEntry, StateEvent, StateMirror, WatchOptions } from './state.ts'
import type { ResolvedState } from './state-options.ts'
import type { StateValues } from './state-values.ts'

export type StateReplica<Out> = Replica<StateEntry<Out | undefined>, StateEvent<Out>>

const PAGE = 500
const RETRY_MS = 100

/** The watchers of one state in this process, over one replica. */
export class StateWatches<Out, In> {
  readonly #options: ResolvedState<Out, In>
  readonly #values: StateValues<Out, In>
  readonly #replica: StateReplica<Out>
  readonly #feeds = new Set<WatchEventQueue<StateEvent<Out>>>()

  constructor(options: ResolvedState<Out, In>, values: StateValues<Out, In>, replica: StateReplica<Out>) {
    this.#options = options
    this.#values = values
    this.#replica = replica
  }

  watch(listener: (event: StateEvent<Out>) => void | Promise<void>, options: WatchOptions): Watch {
    const feed = this.feed(options)
    const { logger, name } = this.#options
    lastingContext()(() => deliver(feed, listener, logger)).catch((error: unknown) =>
      logger.error({ name, err: error }, 'state: a watch ended'),
    )
    return feed
  }

  feed({ prefix = '', after }: WatchOptions): WatchEventQueue<StateEvent<Out>> {
    const snapshot = (reason: SnapshotReason): StateEvent<Out> => ({
      type: 'snapshot',
      reason,
      version: this.#replica.revision,
      entries: this.entries(prefix),
    })
    /** Position of the replica before the reported entry. */
    let passed = this.#replica.revision
    const unlisten = this.#replica.listen({
      onSnapshot: (reason) => {
        passed = this.#replica.revision
        // A watch that continues after a version starts without a snapshot.
        if (reason !== 'first' || after === undefined) feed.push(snapshot(reason))
      },
      onEntry: (event) => {
        const [before, floor] = [passed, feed.floor]
        passed = event.version
        // The log reported more than the replica has ever seen: the store lost it, before the replica could notice.
        if (before < floor && floor < event.version) feed.push(snapshot('rollback'))
        else {
          const seen = only(prefix, event)
          if (seen !== undefined) feed.push(seen)
        }
      },
    })
    const feed: WatchEventQueue<StateEvent<Out>> = new WatchEventQueue({
      maxPending: this.#options.maxPending,
      everything: () => snapshot('slow'),
      upTo: () => this.#replica.revision,
      after,
      onStop: () => {
        unlisten()
        this.#feeds.delete(feed)
      },
    })
    this.#feeds.add(feed)
    // The state was closed meanwhile, and the feed has ended; or the store was, and there will be no events.
    lastingContext()(() => this.#begin(feed, prefix, after, snapshot)).catch((error: unknown) => feed.stop(error))
    return feed
  }

  mirror(): StateMirror<Out> {
    const replica = this.#replica
    return {
      get version() {
        return replica.revision
      },
      get: (key) => replica.items.get(key),
      entries: (prefix = '') => this.entries(prefix),
    }
  }

  entries(prefix: string): StateEntry<Out | undefined>[] {
    const found = [...this.#replica.items.values()].filter(({ key }) => key.startsWith(prefix))
    return found.sort((a, b) => (a.key < b.key ? -1 : 1))
  }

  /** @param reason with which iterators end; without it they end without an error */
  stop(reason?: Error): void {
    for (const feed of this.#feeds) feed.stop(reason)
  }

  async #begin(
    feed: WatchEventQueue<StateEvent<Out>>,
    prefix: string,
    after: number | undefined,
    snapshot: (reason: SnapshotReason) => StateEvent<Out>,
  ): Promise<void> {
    if (after === undefined) {
      // Until the first read, which brings the first snapshot.
      if (this.#replica.isLive) feed.push(snapshot('first'))
      else await this.#replica.open()
      return
    }
    feed.hold(after)
    await this.#replica.open()
    await this.#tellHistory(feed, prefix, after, snapshot)
  }

  /** Passes commits after `after`, from the log; or a snapshot, when the log does not contain them. */
  async #tellHistory(
    feed: WatchEventQueue<StateEvent<Out>>,
    prefix: string,
    after: number,
    snapshot: (reason: SnapshotReason) => StateEvent<Out>,
  ): Promise<void> {
    const { store, cluster, name, clock } = this.#options
    const events: StateEvent<Out>[] = []
    for (let from = after; !feed.isStopped; ) {
      const reply = await store.changes({ cluster, state: name }, from, PAGE).catch((error: unknown) => {
        if (hasCode(error, 'cluster.closed')) throw error
      })
      if (reply?.status === 'rolled_back') return feed.releaseWith(snapshot('rollback'))
      if (reply?.status === 'compacted' && this.#replica.revision > from) return feed.releaseWith(snapshot('behind'))
      // The store is unavailable, or the replica does not contain yet what the log no longer contains.
      if (reply?.status !== 'ok') await clock.sleep(RETRY_MS)
      else if (reply.entries.length === 0) return feed.release(events, from)
      else {
        from = reply.entries.at(-1)?.revision ?? from
        const seen = reply.entries.map((entry) => only(prefix, this.#values.event(entry)))
        events.push(...seen.filter((event) => event !== undefined))
      }
    }
  }
}

/** Returns the part of an event about keys with this prefix. */
function only<Out>(prefix: string, event: StateEvent<Out>): StateEvent<Out> | undefined {
  if (prefix === '' || event.type === 'snapshot') return event
  const changes = event.changes.filter(({ key }) => key.startsWith(prefix))
  return changes.length === 0 ? undefined : { ...event, changes }
}
