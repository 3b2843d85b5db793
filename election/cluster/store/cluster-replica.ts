import { lastingContext } from '../../../core/async-contexts.ts'
import type { Clock } from '../../../core/clock.ts'
import { hasCode, toError } from '../../../core/errors.ts'
import type { Logger } from '../../../core/logger.ts'
import { unlessAborted } from '../../../core/time-limit.ts'
import type { ClusterStore, LogEntry, LogId } from './cluster-store.ts'

/**
 * Reason why a watcher gets a snapshot.
 * - `first`: it has just begun.
 * - `behind`: the log does not reach back to its last event.
 * - `rollback`: the store lost writes that it had confirmed, or everything.
 * - `slow`: it left more events unread than are kept for it.
 */
export type SnapshotReason = 'first' | 'behind' | 'rollback' | 'slow'

/** Source of a replica. `Applied` is the result of applying an entry of the log, for watchers. */
export interface ReplicaSource<Item, Applied> {
  read(): Promise<{ readonly revision: number; readonly items: ReadonlyArray<readonly [key: string, item: Item]> }>
  apply(items: Map<string, Item>, entry: LogEntry): Applied
}

export interface ReplicaListener<Applied> {
  onSnapshot(reason: SnapshotReason): void
  onEntry(applied: Applied): void
}

export interface ReplicaFields<Item, Applied> {
  readonly store: ClusterStore
  readonly log: LogId
  readonly source: ReplicaSource<Item, Applied>
  readonly clock: Clock
  readonly logger: Logger
}

/** Maximum number of entries that a repair reads at once. */
const PAGE = 500
const RETRY_MS = 50
const MAX_RETRY_MS = 1_000

/**
 * A copy of a state or a membership in this process, updated from its log: read once, then every entry is applied in order. Each
 * entry names its predecessor, so a gap or a diverged history shows at the next entry, and is repaired: from the log if it
 * reaches back far enough, else by reading everything again.
 *
 *     idle -> reading -> live <-> repairing | reading -> closed
 *
 * All watches share one copy and one reader of the log.
 */
export class Replica<Item, Applied> {
  readonly #fields: ReplicaFields<Item, Applied>
  readonly #closing = new AbortController()
  readonly #listeners = new Set<ReplicaListener<Applied>>()
  readonly #live = Promise.withResolvers<void>()
  #items = new Map<string, Item>()
  #revision = 0
  #isLive = false
  #isOpen = false
  #stop: () => void = noop
  /** Increases whenever following ends, so that later events of an earlier one are ignored. */
  #following = 0

  constructor(fields: ReplicaFields<Item, Applied>) {
    this.#fields = fields
  }

  get items(): ReadonlyMap<string, Item> {
    return this.#items
  }

  get revision(): number {
    return this.#revision
  }

  /** True once it has been read. */
  get isLive(): boolean {
    return this.#isLive
  }

  /** Resolves when it has been read; an unavailable store is retried forever. @throws the reason of the signal */
  async open(signal?: AbortSignal): Promise<void> {
    if (!this.#isOpen && !this.#closing.signal.aborted) {
      this.#isOpen = true
      this.#background(lastingContext()(() => this.#read('first')))
    }
    const closed = unlessAborted(this.#closing.signal, this.#live.promise)
    await (signal === undefined ? closed : unlessAborted(signal, closed))
  }

  listen(listener: ReplicaListener<Applied>): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** @param reason with which waiting calls reject */
  close(reason: Error): void {
    this.#closing.abort(reason)
    this.#unfollow()
    this.#listeners.clear()
  }

  async #read(reason: SnapshotReason): Promise<void> {
    this.#unfollow()
    const { source } = this.#fields
    const reading = await this.#persist(() => source.read())
    if (reading === undefined) return
    this.#items = new Map(reading.items)
    this.#revision = reading.revision
    for (const listener of this.#listeners) listener.onSnapshot(reason)
    if (!this.#isLive) {
      this.#isLive = true
      this.#live.resolve()
    }
    this.#follow()
  }

  #follow(): void {
    const following = ++this.#following
    const { store, log } = this.#fields
    const isCurrent = (): boolean => following === this.#following
    const stop = store.follow(log, this.#revision, {
      onEntries: (entries) => {
        if (isCurrent() && !this.#take(entries)) this.#background(this.#repair())
      },
      onRollback: () => {
        if (isCurrent()) this.#background(this.#repair())
      },
    })
    if (isCurrent()) this.#stop = stop
    else stop()
  }

  #unfollow(): void {
    this.#following += 1
    this.#stop()
    this.#stop = noop
  }

  /** @returns false when entries are missing between the last one and these */
  #take(entries: readonly LogEntry[]): boolean {
    for (const entry of entries) {
      if (entry.revision <= this.#revision) continue
      if (entry.previous !== this.#revision) return false
      this.#revision = entry.revision
      const applied = this.#fields.source.apply(this.#items, entry)
      for (const listener of this.#listeners) listener.onEntry(applied)
    }
    return true
  }

  async #repair(): Promise<void> {
    this.#unfollow()
    const { store, log } = this.#fields
    for (;;) {
      const reply = await this.#persist(() => store.changes(log, this.#revision, PAGE))
      if (reply === undefined) return
      if (reply.status !== 'ok') return this.#read(reply.status === 'compacted' ? 'behind' : 'rollback')
      if (reply.entries.length === 0) return this.#follow()
      if (!this.#take(reply.entries)) return this.#read('behind')
    }
  }

  /** Repeats until it succeeds; `undefined` when closed. */
  async #persist<T>(call: () => Promise<T>): Promise<T | undefined> {
    const { clock, logger, log } = this.#fields
    for (let pauseMs = RETRY_MS; !this.#closing.signal.aborted; pauseMs = Math.min(2 * pauseMs, MAX_RETRY_MS)) {
      try {
        const result = await call()
        return this.#closing.signal.aborted ? undefined : result
      } catch (error) {
        if (this.#closing.signal.aborted) return undefined
        if (hasCode(error, 'cluster.closed')) {
          // The store was closed before its user, so there will be no events.
          this.close(toError(error))
          return undefined
        }
        if (pauseMs === RETRY_MS) logger.warn({ ...log, err: toError(error) }, 'cluster: cannot read, trying again')
        await clock.sleep(pauseMs, this.#closing.signal).catch(noop)
      }
    }
    return undefined
  }

  #background(work: Promise<void>): void {
    work.catch((error: unknown) => {
      this.#fields.logger.error({ ...this.#fields.log, err: toError(error) }, 'cluster: a replica stopped')
    })
  }
}

function noop(): void {}
