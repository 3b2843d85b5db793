import { lastingContext } from '../../../core/async-contexts.ts'
import { readInstant } from '../../../core/elapsed-time.ts'
import { hasCode } from '../../../core/errors.ts'
import { randomId } from '../../../core/random-id.ts'
import { ClusterError, type EvictedReason } from '../store/cluster-errors.ts'
import type { BeatReply } from '../store/cluster-store.ts'
import type { MemberMeta, MembershipState, Presence, PresenceEvent } from './membership.ts'
import type { ResolvedMembership } from './membership-options.ts'
import { type Phase, seenAs } from './membership-phase.ts'
import { OwnPresenceEvents } from './own-presence-events.ts'
import { HeldPresence } from './presence-validity.ts'
import { MembershipMetadata } from './versioned-member-metadata.ts'

const LEAVE_TRIES = 3

/**
 * Joins, sends heartbeats, and joins again: one loop, over one generation after the other.
 *
 *     joining -> alive <-> isolated         alive | isolated -> (dead) joining | (replaced) evicted | (leave) observing
 */
export class MembershipKeeper {
  readonly #options: ResolvedMembership
  readonly #restore: (presence: Presence) => Promise<boolean>
  readonly #news: OwnPresenceEvents
  readonly #description: MembershipMetadata
  #phase: Phase = { state: 'observing' }
  #joined = Promise.withResolvers<Presence>()
  #stop = new AbortController()
  #wish = new AbortController()
  #running: Promise<void> | undefined
  /** Settles after every run, including its last requests. */
  #ended: Promise<void> = Promise.resolve()
  /** Joins without an answer that may still arrive: they would begin a generation without a process. */
  readonly #uncertain = new Set<string>()
  #cancelTimer: () => void = noop

  /** @param restore restores a store that lost the cluster; false when this generation is not known here either */
  constructor(options: ResolvedMembership, restore: (presence: Presence) => Promise<boolean>) {
    this.#options = options
    this.#restore = restore
    this.#news = new OwnPresenceEvents(options)
    this.#description = new MembershipMetadata(options)
  }

  get state(): MembershipState {
    return seenAs(this.#phase)
  }

  get error(): string | undefined {
    return this.#news.error
  }

  get presence(): HeldPresence | undefined {
    return this.#phase.presence
  }

  /** Aborts at a `leave`: pass it to `join` for requests made before that. */
  get wish(): AbortSignal {
    return this.#wish.signal
  }

  /** Resolves with the generation, joining if that is not under way; waits for the end of a generation that is leaving. */
  async join(wish: AbortSignal): Promise<Presence> {
    const leaving = this.#stop.signal.aborted ? this.#running : undefined
    await leaving?.catch(noop)
    wish.throwIfAborted()
    if (this.#running === undefined) {
      this.#stop = new AbortController()
      this.#expect()
      this.#running = lastingContext()(() => this.#run(this.#stop.signal))
      const ended = this.#running.catch((error: unknown) => this.#news.warn(error, 'membership: the heartbeat ended'))
      this.#ended = Promise.all([this.#ended, ended]).then(noop)
    }
    return this.#phase.presence ?? this.#joined.promise
  }

  async leave(): Promise<void> {
    const reason = new ClusterError('cluster.member_evicted', {
      instance: this.#options.instance,
      generation: this.#phase.presence?.generation ?? 0,
      reason: 'left',
    })
    this.#wish.abort(reason)
    this.#wish = new AbortController()
    this.#stop.abort(reason)
    await this.#ended
    if (this.#phase.state === 'evicted') this.#phase = { state: 'observing' }
  }

  subscribe(listener: (event: PresenceEvent) => void): () => void {
    return this.#news.subscribe(listener)
  }

  async update(meta: MemberMeta): Promise<void> {
    this.#description.change(meta)
    const { presence } = this.#phase
    if (presence === undefined) return
    if ((await this.#describe(presence)) === 'evicted') {
      throw new ClusterError('cluster.member_evicted', {
        instance: presence.instance,
        generation: presence.generation,
        reason: 'dead',
      })
    }
  }

  async #run(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      this.#phase = { state: 'joining' }
      if (!(await this.#enter(stop))) continue
      const reason = await this.#stay(stop)
      const again = reason === 'dead' && this.#options.rejoin
      const { presence } = this
      // Before listeners are notified, because one may join again.
      this.#phase = { state: again ? 'joining' : reason === 'left' ? 'observing' : 'evicted' }
      if (again) this.#expect()
      else this.#running = undefined
      this.#cancelTimer()
      const uncertain = reason === 'left' ? [] : [...this.#uncertain]
      if (presence !== undefined) this.#evict(presence, reason)
      // A lost request that arrives now would replace the generation of the successor.
      for (const joinId of uncertain) await this.#sayGoodbye(joinId)
      if (!again) return
    }
    this.#running = undefined
    this.#phase = { state: 'observing' }
    this.#joined.reject(stop.reason)
  }

  #expect(): void {
    this.#joined = Promise.withResolvers()
    this.#joined.promise.catch(noop)
  }

  /** Begins a new generation; false when stopped. */
  async #enter(stop: AbortSignal): Promise<boolean> {
    const { store, cluster, instance, suspectAfterMs, deadAfterMs, clock } = this.#options
    const joinId = randomId()
    const timing = { suspectAfterMs, deadAfterMs }
    while (!stop.aborted) {
      const sentAt = readInstant(clock)
      const { sequence, json } = this.#description
      try {
        const reply = await store.join({ cluster, instance, joinId, json, ...timing })
        if (reply.status === 'given_up') return false
        if (stop.aborted) {
          await this.#sayGoodbye(joinId)
          return false
        }
        this.#description.begunWith(sequence)
        const { generation } = reply
        const presence = new HeldPresence({ instance, generation, joinId, clock, suspectAfterMs, sentAt })
        this.#confirmed(presence, 'joined')
        this.#joined.resolve(presence)
        return true
      } catch (error) {
        if (!hasCode(error, 'cluster.store_unavailable') || (error as { outcome?: string }).outcome === 'unknown') {
          this.#uncertain.add(joinId)
        }
        if (this.#isOver(error)) return false
        this.#news.warn(error, 'membership: cannot join, trying again')
        await this.#pause(this.#options.heartbeatMs / 2, stop)
      }
    }
    if (this.#uncertain.has(joinId)) await this.#sayGoodbye(joinId)
    return false
  }

  /** Sends heartbeats until this generation has ended. */
  async #stay(stop: AbortSignal): Promise<EvictedReason> {
    const { heartbeatMs } = this.#options
    let pauseMs = heartbeatMs
    for (;;) {
      await this.#pause(pauseMs, stop)
      const { presence } = this.#phase
      if (presence === undefined) return 'dead'
      if (stop.aborted) {
        if (!hasCode(stop.reason, 'cluster.closed')) await this.#sayGoodbye(presence.joinId)
        return 'left'
      }
      const reply = await this.#beat(presence)
      pauseMs = reply === undefined ? heartbeatMs / 4 : heartbeatMs
      if (reply?.status === 'evicted') {
        const reason = (reply.current ?? 0) > presence.generation ? await this.#replacedBy(presence) : 'dead'
        if (reason !== undefined) return reason
        pauseMs = heartbeatMs / 4
      }
      if (reply?.status !== 'forgotten') continue
      const restored = await this.#remind(presence)
      if (restored === false) return 'dead'
      pauseMs = restored === true ? 0 : heartbeatMs / 4
    }
  }

  async #beat(presence: HeldPresence): Promise<BeatReply | undefined> {
    const { store, cluster, instance, suspectAfterMs, clock } = this.#options
    const sentAt = readInstant(clock)
    try {
      const reply = await store.beat(cluster, instance, presence.generation, suspectAfterMs)
      if (reply.status !== 'confirmed') return reply
      if (presence.signal.aborted || !presence.isValid) {
        this.#isolate(presence)
        this.#confirmed(presence.renewed(sentAt), 'recovered')
      } else {
        presence.confirm(sentAt)
        this.#confirmed(presence)
      }
      if (!this.#description.isTold) await this.#describe(presence)
      return reply
    } catch (error) {
      if (!this.#isOver(error)) this.#news.warn(error, 'membership: a heartbeat was not confirmed, trying again')
      return undefined
    }
  }

  /**
   * Distinguishes a later process from a lost request of this one, whose generation has no process. One that has ended since does
   * not replace. `undefined`: the store is unavailable.
   */
  async #replacedBy(presence: HeldPresence): Promise<EvictedReason | undefined> {
    if (this.#uncertain.size === 0) return 'replaced'
    const { store, cluster, instance } = this.#options
    try {
      const { records } = await store.members(cluster)
      const current = records.find((record) => record.instance === instance)
      return current === undefined || this.#uncertain.has(current.joinId) ? 'dead' : 'replaced'
    } catch (error) {
      this.#isolate(presence)
      if (!this.#isOver(error)) this.#news.warn(error, 'membership: cannot read what has replaced it, trying again')
      return undefined
    }
  }

  /** Restores the cluster in a store that lost it. `undefined`: it is unavailable. */
  async #remind(presence: Presence): Promise<boolean | undefined> {
    try {
      return await this.#restore(presence)
    } catch (error) {
      this.#news.warn(error, 'membership: cannot restore the cluster, trying again')
      return undefined
    }
  }

  async #describe(presence: Presence): Promise<'described' | 'evicted'> {
    const { store, cluster } = this.#options
    const { instance, generation } = presence
    const { sequence, json } = this.#description
    const reply = await store.describe({ cluster, instance, generation, sequence, json })
    this.#description.told(sequence)
    return reply
  }

  #confirmed(presence: HeldPresence, transition?: 'joined' | 'recovered'): void {
    this.#news.cleared()
    this.#phase = { state: 'alive', presence }
    if (transition !== undefined) this.#news.tell({ type: transition, generation: presence.generation })
    this.#watchdog(presence)
  }

  #watchdog(presence: HeldPresence): void {
    this.#cancelTimer()
    this.#cancelTimer = this.#options.clock.setTimer(Math.max(0, presence.remainingMs()), () => {
      if (this.#phase.presence !== presence) return
      if (presence.remainingMs() > 0) this.#watchdog(presence)
      else this.#isolate(presence)
    })
  }

  #isolate(presence: HeldPresence): void {
    if (presence.signal.aborted) return
    this.#phase = { state: 'isolated', presence }
    presence.isolate()
    this.#news.tell({ type: 'isolated', generation: presence.generation })
  }

  #evict(presence: HeldPresence, reason: EvictedReason): void {
    presence.evict(reason)
    this.#news.tell({ type: 'evicted', generation: presence.generation, reason })
  }

  /** A few tries are enough, because without an answer it will be declared dead. */
  async #sayGoodbye(joinId: string): Promise<void> {
    const { store, cluster, instance, heartbeatMs, clock } = this.#options
    for (let attempt = 1; attempt <= LEAVE_TRIES; attempt++) {
      try {
        await store.leave(cluster, instance, joinId, this.#uncertain.has(joinId))
        this.#uncertain.delete(joinId)
        return
      } catch (error) {
        this.#news.warn(error, 'membership: could not say goodbye')
        if (attempt < LEAVE_TRIES) await clock.sleep(Math.min(100, heartbeatMs / 4))
      }
    }
  }

  /** The store was closed before the membership, so it ends. */
  #isOver(error: unknown): boolean {
    if (!hasCode(error, 'cluster.closed')) return false
    this.#news.ended(error)
    this.#stop.abort(error)
    return true
  }

  async #pause(durationMs: number, stop: AbortSignal): Promise<void> {
    await this.#options.clock.sleep(durationMs, stop).catch(noop)
  }
}

function noop(): void {}
