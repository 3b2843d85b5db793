import { lastingContext } from '../../../core/async-contexts.ts'
import { hasCode, invalidOption, toError } from '../../../core/errors.ts'
import { optionNames, refuseUnknown } from '../../../core/option-checks.ts'
import { unlessAborted } from '../../../core/time-limit.ts'
import { observeMembership } from '../../telemetry.ts'
import { ClusterError } from '../store/cluster-errors.ts'
import type { Watch } from '../store/watch-event-queue.ts'
import type {
  Member,
  MemberMeta,
  Membership,
  MembershipEvent,
  MembershipHealth,
  MembershipState,
  MembershipStatus,
  MembershipView,
  Presence,
  PresenceEvent,
} from './membership.ts'
import { MembershipKeeper } from './membership-keeper.ts'
import { type MembershipOptions, type ResolvedMembership, resolveMembership } from './membership-options.ts'
import { ClusterView } from './membership-view.ts'

/** Creates a membership in a cluster. Connects when it is first used; a member only after `join()`. */
export function createMembership(options: MembershipOptions): Membership {
  return new MembershipClient(resolveMembership(options))
}

interface Waiting {
  readonly signal?: AbortSignal | undefined
}

const WAITING_NAMES = optionNames<Waiting>({ signal: true })
const MAY_RESTORE: ReadonlySet<MembershipState> = new Set(['alive', 'isolated'])

class MembershipClient implements Membership {
  readonly #options: ResolvedMembership
  readonly #keeper: MembershipKeeper
  readonly #view: ClusterView
  readonly #closing = new AbortController()
  readonly #stopTelemetry: (() => void) | undefined
  #sweeping: Promise<void> | undefined

  constructor(options: ResolvedMembership) {
    this.#options = options
    this.#view = new ClusterView(options, () => MAY_RESTORE.has(this.#keeper.state))
    this.#keeper = new MembershipKeeper(options, (presence) => this.#view.restore(presence))
    const { telemetry, cluster } = options
    const read = () => ({ members: this.members(), isIsolated: this.#keeper.state === 'isolated' })
    this.#stopTelemetry = telemetry === undefined ? undefined : observeMembership(telemetry, cluster, read)
  }

  get cluster(): string {
    return this.#options.cluster
  }

  get instance(): string {
    return this.#options.instance
  }

  async join(options: Waiting = {}): Promise<Presence> {
    refuseUnknown(`membership("${this.cluster}").join`, options, WAITING_NAMES)
    this.#closing.signal.throwIfAborted()
    this.#options.store.refuseInside?.()
    const { signal } = options
    signal?.throwIfAborted()
    const shown = unlessAborted(this.#closing.signal, this.#joinAndShow(signal))
    return signal === undefined ? shown : unlessAborted(signal, shown)
  }

  self(): Presence | undefined {
    const presence = this.#keeper.presence
    return presence?.isValid === true ? presence : undefined
  }

  status(): MembershipStatus {
    const state = this.#closing.signal.aborted ? 'closed' : this.#keeper.state
    const { cluster, instance } = this
    return { cluster, instance, state, generation: this.#keeper.presence?.generation, error: this.#keeper.error }
  }

  subscribe(listener: (event: PresenceEvent) => void): () => void {
    return this.#keeper.subscribe(listener)
  }

  async update(meta: MemberMeta): Promise<void> {
    this.#closing.signal.throwIfAborted()
    await this.#keeper.update(meta)
  }

  members(): readonly Member[] {
    return this.#view.get().members
  }

  view(): MembershipView {
    return this.#view.get()
  }

  async ready(options: Waiting = {}): Promise<void> {
    refuseUnknown(`membership("${this.cluster}").ready`, options, WAITING_NAMES)
    this.#closing.signal.throwIfAborted()
    this.#options.store.refuseInside?.()
    this.#sweepWhileObserving()
    await this.#view.open(options.signal)
  }

  watch(listener: (event: MembershipEvent) => void | Promise<void>): Watch {
    const path = `membership("${this.cluster}").watch`
    if (typeof listener !== 'function') throw invalidOption(path, listener, 'a function')
    this.#closing.signal.throwIfAborted()
    this.#sweepWhileObserving()
    return this.#view.watch(listener)
  }

  events(options: Waiting = {}): AsyncIterableIterator<MembershipEvent> {
    refuseUnknown(`membership("${this.cluster}").events`, options, WAITING_NAMES)
    this.#closing.signal.throwIfAborted()
    const { signal } = options
    signal?.throwIfAborted()
    this.#sweepWhileObserving()
    const feed = this.#view.feed()
    feed.stopOn(signal)
    return feed
  }

  async leave(): Promise<void> {
    this.#options.store.refuseInside?.()
    await this.#keeper.leave()
  }

  health(): MembershipHealth {
    const { state, error } = this.status()
    if (state === 'closed') return { status: 'closed' }
    const store = this.#options.store.health()
    if (state === 'observing') return store
    // A member whose heartbeats arrive may still be unable to read the other members.
    if (state === 'alive') return store.status === 'down' ? store : { status: 'up' }
    const detail = { joining: 'not joined yet', isolated: 'isolated', evicted: 'another process has the instance id' }
    return { status: 'down', detail: error === undefined ? detail[state] : `${detail[state]}: ${error}` }
  }

  async close(): Promise<void> {
    const reason = new ClusterError('cluster.closed', { part: `membership "${this.cluster}"` })
    this.#closing.abort(reason)
    this.#stopTelemetry?.()
    await this.#keeper.leave()
    this.#view.close(reason)
    await this.#sweeping
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #joinAndShow(signal: AbortSignal | undefined): Promise<Presence> {
    // The view before the heartbeat: a member must know the others to restore them in a store that forgot them.
    const { wish } = this.#keeper
    await unlessAborted(wish, this.#view.open(signal))
    const presence = await this.#keeper.join(wish)
    await this.#shown(presence)
    return presence
  }

  /** Resolves when the view shows this generation, or it has already ended. */
  async #shown(presence: Presence): Promise<void> {
    const isShown = (): boolean => presence.signal.aborted || this.#view.has(presence.instance, presence.generation)
    const shown = Promise.withResolvers<void>()
    const check = (): void => {
      if (isShown()) shown.resolve()
    }
    const stop = this.#view.onChange(check)
    presence.signal.addEventListener('abort', check, { once: true })
    check()
    await shown.promise.finally(stop)
    presence.signal.removeEventListener('abort', check)
  }

  /** Members sweep with their heartbeats. If there are none, observers have to. */
  #sweepWhileObserving(): void {
    this.#sweeping ??= lastingContext()(() => this.#sweep())
  }

  async #sweep(): Promise<void> {
    const { store, cluster, heartbeatMs, suspectAfterMs, clock, logger } = this.#options
    while (!this.#closing.signal.aborted) {
      await clock.sleep(heartbeatMs, this.#closing.signal).catch(() => {})
      if (this.#closing.signal.aborted || this.#keeper.presence !== undefined) continue
      try {
        await store.sweep(cluster, suspectAfterMs)
      } catch (error) {
        if (hasCode(error, 'cluster.closed')) return
        logger.debug({ cluster, err: toError(error) }, 'membership: could not sweep')
      }
    }
  }
}
