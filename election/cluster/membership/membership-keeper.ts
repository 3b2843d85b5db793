import { lastingContext } from '../../../core/ambient.ts'
import { tell } from '../../../core/callbacks.ts'
import { hasCode, toError } from '../../../core/errors.ts'
import { randomId } from '../../../core/random-id.ts'
import { readInstant } from '../../../locks/validity.ts'
import { type EvictedReason, MemberEvicted } from '../store/cluster-errors.ts'
import type { BeatReply } from '../store/cluster-store.ts'
import type { MemberMeta, MembershipState, Presence, PresenceEvent } from './membership.ts'
import { describeMember, type ResolvedMembership } from './membership-options.ts'
import { HeldPresence } from './membership-presence.ts'

const LEAVE_TRIES = 3

/**
 * Joins, beats, and joins again: one loop, over one generation after the other.
 *
 *     joining -> alive <-> isolated         alive | isolated -> (dead) joining | (replaced) evicted | (leave) observing
 */
export class PresenceKeeper {
  readonly #options: ResolvedMembership
  readonly #restore: (presence: Presence) => Promise<boolean>
  readonly #listeners = new Set<(event: PresenceEvent) => void>()
  #state: MembershipState = 'observing'
  #presence: HeldPresence | undefined
  #joined = Promise.withResolvers<Presence>()
  #stop = new AbortController()
  #running: Promise<void> | undefined
  #error: string | undefined
  #cancelTimer: () => void = noop
  #json: string
  #sequence = 0
  #described = 0

  /** @param restore tells a store that lost the cluster who is in it; false when this generation is not known here either */
  constructor(options: ResolvedMembership, restore: (presence: Presence) => Promise<boolean>) {
    this.#options = options
    this.#restore = restore
    this.#json = describeMember(options, options.meta)
  }

  get state(): MembershipState {
    return this.#state === 'alive' && this.#presence?.isValid === false ? 'isolated' : this.#state
  }

  get error(): string | undefined {
    return this.#error
  }

  get presence(): HeldPresence | undefined {
    return this.#presence
  }

  /** Resolves with the generation, joining if it is not under way. */
  async join(): Promise<Presence> {
    if (this.#running === undefined) {
      this.#stop = new AbortController()
      this.#expect()
      this.#running = lastingContext()(() => this.#run(this.#stop.signal))
      this.#running.catch((error: unknown) => this.#warn(error, 'membership: the heartbeat ended'))
    }
    return this.#presence ?? this.#joined.promise
  }

  async leave(): Promise<void> {
    this.#stop.abort(new MemberEvicted(this.#options.instance, this.#presence?.generation ?? 0, 'left'))
    await this.#running?.catch(noop)
    if (this.#state === 'evicted') this.#state = 'observing'
  }

  subscribe(listener: (event: PresenceEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async update(meta: MemberMeta): Promise<void> {
    this.#json = describeMember(this.#options, meta)
    this.#sequence += 1
    const presence = this.#presence
    if (presence === undefined) return
    if ((await this.#describe(presence)) === 'evicted') {
      throw new MemberEvicted(presence.instance, presence.generation, 'dead')
    }
  }

  async #run(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      this.#state = 'joining'
      const presence = await this.#enter(stop)
      if (presence === undefined) continue
      const reason = await this.#stay(stop)
      const again = reason === 'dead' && this.#options.rejoin
      // Before anybody hears of it: a listener may join again.
      this.#state = again ? 'joining' : reason === 'left' ? 'observing' : 'evicted'
      if (again) this.#expect()
      else this.#running = undefined
      this.#end(reason)
      if (!again) return
    }
    this.#running = undefined
    this.#state = 'observing'
    this.#joined.reject(stop.reason)
  }

  #expect(): void {
    this.#joined = Promise.withResolvers()
    this.#joined.promise.catch(noop)
  }

  /** A new generation; `undefined` when told to stop. */
  async #enter(stop: AbortSignal): Promise<HeldPresence | undefined> {
    const { store, cluster, instance, suspectAfterMs, deadAfterMs, clock } = this.#options
    const joinId = randomId()
    const timing = { suspectAfterMs, deadAfterMs }
    let uncertain = false
    while (!stop.aborted) {
      const sentAt = readInstant(clock)
      const sequence = this.#sequence
      try {
        const reply = await store.join({ cluster, instance, joinId, json: this.#json, ...timing })
        if (reply.status === 'given_up') return undefined
        if (stop.aborted) {
          await this.#sayGoodbye(joinId, false)
          return undefined
        }
        this.#described = sequence
        const { generation } = reply
        this.#presence = new HeldPresence({ instance, generation, joinId, clock, suspectAfterMs, sentAt })
        this.#confirmed('joined')
        this.#joined.resolve(this.#presence)
        return this.#presence
      } catch (error) {
        if (!hasCode(error, 'cluster.store_unavailable') || (error as { outcome?: string }).outcome === 'unknown') {
          uncertain = true
        }
        if (this.#isOver(error)) return undefined
        this.#warn(error, 'membership: cannot join, trying again')
        await this.#pause(this.#options.heartbeatMs / 2, stop)
      }
    }
    if (uncertain) await this.#sayGoodbye(joinId, true)
    return undefined
  }

  /** Beats until this generation is over. */
  async #stay(stop: AbortSignal): Promise<EvictedReason> {
    const { heartbeatMs } = this.#options
    let pauseMs = heartbeatMs
    for (;;) {
      await this.#pause(pauseMs, stop)
      const presence = this.#presence
      if (presence === undefined) return 'dead'
      if (stop.aborted) {
        if (!hasCode(stop.reason, 'cluster.closed')) await this.#sayGoodbye(presence.joinId, false)
        return 'left'
      }
      const reply = await this.#beat(presence)
      pauseMs = reply === undefined ? heartbeatMs / 4 : heartbeatMs
      if (reply?.status === 'evicted') return (reply.current ?? 0) > presence.generation ? 'replaced' : 'dead'
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
        this.#presence = presence.renewed(sentAt)
        this.#confirmed('recovered')
      } else {
        presence.confirm(sentAt)
        this.#confirmed(undefined)
      }
      if (this.#described < this.#sequence) await this.#describe(presence)
      return reply
    } catch (error) {
      if (!this.#isOver(error)) this.#warn(error, 'membership: a heartbeat was not confirmed, trying again')
      return undefined
    }
  }

  /** The store lost the whole cluster: tell it. `undefined`: it is away. */
  async #remind(presence: Presence): Promise<boolean | undefined> {
    try {
      return await this.#restore(presence)
    } catch (error) {
      this.#warn(error, 'membership: cannot restore the cluster, trying again')
      return undefined
    }
  }

  async #describe(presence: Presence): Promise<'described' | 'evicted'> {
    const { store, cluster } = this.#options
    const { instance, generation } = presence
    const sequence = this.#sequence
    const reply = await store.describe({ cluster, instance, generation, sequence, json: this.#json })
    this.#described = Math.max(this.#described, sequence)
    return reply
  }

  #confirmed(transition: 'joined' | 'recovered' | undefined): void {
    const presence = this.#presence
    if (presence === undefined) return
    this.#error = undefined
    this.#state = 'alive'
    if (transition !== undefined) this.#emit({ type: transition, generation: presence.generation })
    this.#watchdog(presence)
  }

  #watchdog(presence: HeldPresence): void {
    this.#cancelTimer()
    this.#cancelTimer = this.#options.clock.setTimer(Math.max(0, presence.remainingMs()), () => {
      if (this.#presence !== presence) return
      if (presence.remainingMs() > 0) this.#watchdog(presence)
      else this.#isolate(presence)
    })
  }

  #isolate(presence: HeldPresence): void {
    if (presence.signal.aborted) return
    this.#state = 'isolated'
    presence.isolate()
    this.#emit({ type: 'isolated', generation: presence.generation })
  }

  #end(reason: EvictedReason): void {
    const presence = this.#presence
    this.#cancelTimer()
    this.#presence = undefined
    if (presence === undefined) return
    presence.evict(reason)
    this.#emit({ type: 'evicted', generation: presence.generation, reason })
  }

  /** Not heard of, it will be declared dead: so a few tries are enough. */
  async #sayGoodbye(joinId: string, forget: boolean): Promise<void> {
    const { store, cluster, instance, heartbeatMs, clock } = this.#options
    for (let attempt = 1; attempt <= LEAVE_TRIES; attempt++) {
      try {
        return await store.leave(cluster, instance, joinId, forget)
      } catch (error) {
        this.#warn(error, 'membership: could not say goodbye')
        if (attempt < LEAVE_TRIES) await clock.sleep(Math.min(100, heartbeatMs / 4))
      }
    }
  }

  /** The store was closed before the membership: nothing to go on for. */
  #isOver(error: unknown): boolean {
    if (!hasCode(error, 'cluster.closed')) return false
    this.#error = toError(error).message
    this.#stop.abort(error)
    return true
  }

  #emit(event: PresenceEvent): void {
    const { logger, cluster, instance } = this.#options
    logger.info({ cluster, instance, ...event }, `membership: ${event.type}`)
    for (const listener of this.#listeners) {
      tell(listener, event, (error) =>
        logger.error({ cluster, err: toError(error) }, 'membership: a subscriber failed'),
      )
    }
  }

  async #pause(durationMs: number, stop: AbortSignal): Promise<void> {
    await this.#options.clock.sleep(durationMs, stop).catch(noop)
  }

  #warn(error: unknown, message: string): void {
    const { logger, cluster, instance } = this.#options
    const { message: text } = toError(error)
    const level = this.#error === undefined ? 'warn' : 'debug'
    logger[level]({ cluster, instance, err: error }, message)
    this.#error = text
  }
}

function noop(): void {}
