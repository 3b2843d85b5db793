/**
 * Process with a candidate for one role and a member of one cluster: campaigns, writes to the fenced sinks while it leads, and
 * records every term and every transition of a member that it receives. SIGTERM hands over and ends it.
 */

import { createMembership, type Membership } from 'concordat/cluster'
import { hasCode, systemClock } from 'concordat/core'
import { createElection, type Election, type Term } from 'concordat/election'
import type { ClusterStore } from 'concordat/extension'
import type { Locks } from 'concordat/locks'
import type { MembershipEvent } from '../../support/inside/election.ts'
import { codeOf, describe } from '../harness/errors.ts'
import { EventLoop } from '../harness/event-loop.ts'
import { EventLog, nowMs } from '../harness/events.ts'
import { Random } from '../harness/random.ts'
import { openSinks, type SinkClient } from '../harness/sinks.ts'
import { openGuarded } from '../store/guarded.ts'
import { openLocks, openStateStore } from '../store/open.ts'
import type { Place } from '../store/orders.ts'
import { serve, type Work } from '../store/serve.ts'
import { STALL_MARGIN_MS, TTL_MS } from '../store/sizes.ts'
import { lateRevoke } from './broken.ts'
import { BEAT_MS, CLUSTER, type ElectionSettings } from './settings.ts'
import { StateUser } from './state-user.ts'

const BELIEF_EVERY_MS = 20
/** Time for which a leader without checks continues after its term, unless a fence refuses first. */
const LATE_WRITES_MS = 3_000

type End = ReturnType<EventLog['invoke']>

class Candidate implements Work {
  readonly #place: Place
  readonly #settings: ElectionSettings
  readonly #log: EventLog
  readonly #random: Random
  readonly #locks: Locks
  readonly #election: Election
  readonly #store: ClusterStore
  readonly #membership: Membership
  readonly #state: StateUser
  readonly #sinks: readonly SinkClient[]
  readonly #eventLoop = new EventLoop()
  #terms = 0
  #campaign: End | undefined
  #revoked: End | undefined

  constructor(place: Place, settings: ElectionSettings) {
    this.#place = place
    this.#settings = settings
    this.#random = new Random(place.seed)
    this.#log = new EventLog(place.history, place.process, (event) => void process.send?.(event))
    this.#sinks = [...openSinks(place.sinks, place.broken !== 'no-fence'), ...openGuarded(place)]
    const { storeUrl: url, prefix, process: instance } = place
    const { heartbeatMs } = settings
    this.#locks = openLocks(url, { prefix, heartbeatMs, stallMarginMs: STALL_MARGIN_MS })
    this.#election = createElection({
      locks: place.broken === 'late-revoke' ? lateRevoke(this.#locks) : this.#locks,
      role: place.key.replace(/^election\//, ''),
      instance,
      ttlMs: TTL_MS,
      retryMs: 100,
      stopGraceMs: 500,
      onGranted: (term) => this.#lead(term),
      onRevoked: (_term, reason) => this.#stepDown(reason),
    })
    this.#election.subscribe((event) => {
      if (event.type === 'granted') this.#granted(event.term)
      else this.#revoked = this.#log.invoke('release', { ...this.#grant(), token: event.term, text: event.reason })
    })
    this.#store = openStateStore(url, `cluster-${prefix}`)
    const stateLog = new EventLog(place.history, `${instance}s`, (event) => void process.send?.(event))
    this.#state = new StateUser(this.#store, stateLog, this.#random, instance)
    this.#membership = createMembership({
      store: this.#store,
      cluster: CLUSTER,
      service: 'candidates',
      instance,
      heartbeatMs: BEAT_MS,
    })
    this.#membership.watch((event) => this.#heard(event))
    this.#membership.join().catch((error: unknown) => {
      if (codeOf(error) !== 'cluster.closed') this.#log.note('join failed', { error: describe(error) })
    })
  }

  note(op: string, error?: unknown): void {
    this.#log.note(op, error === undefined ? {} : { error: describe(error) })
  }

  go(): void {
    if (this.#campaign === undefined) this.#begin()
    this.#election.start()
    this.#state.go()
  }

  /** A candidate campaigns until its process ends. */
  holdOff(): void {}

  /** Makes a leader stay until the next order. */
  linger(lingers: boolean): void {
    if (!lingers && this.#election.current() !== undefined) void this.#election.resign()
  }

  async stop(): Promise<void> {
    await Promise.all([this.#election.close(), this.#state.stop()])
    this.#log.note('stopped')
  }

  async close(): Promise<void> {
    await this.stop()
    await this.#membership.close()
    await this.#state.close()
    await this.#store.close()
    await this.#locks.close()
    await Promise.all(this.#sinks.map((sink) => sink.close()))
    this.#eventLoop.close()
    this.#log.note('closed')
    this.#log.close()
  }

  #grant(): { readonly key: string; readonly grant: string } {
    return { key: this.#place.key, grant: `${this.#place.process}/${this.#terms}` }
  }

  #begin(): void {
    this.#terms += 1
    this.#campaign = this.#log.invoke('acquire', { ...this.#grant(), mode: 'exclusive' })
  }

  #granted(token: number): void {
    const until = believesUntil(this.#election.current())
    if (this.#revoked !== undefined) this.#log.note('stray error', { text: 'granted before the end of the last term' })
    this.#campaign?.('ok', { token, until })
  }

  async #lead(term: Term): Promise<void> {
    const grant = this.#grant()
    const details = { ...grant, token: term.term }
    const isOver = (): boolean => term.signal.aborted || this.#election.current() !== term
    const timer = setInterval(() => {
      this.#log.note('belief', { ...details, until: believesUntil(term), state: isOver() ? 'lost' : 'held' })
    }, BELIEF_EVERY_MS)
    term.signal.addEventListener('abort', () => {
      clearInterval(timer)
      const stalledMs = this.#eventLoop.longestStallMs(3 * TTL_MS)
      this.#log.note('lost', { ...details, stalledMs, text: describe(term.signal.reason) })
    })
    let lateSince: number | undefined
    for (let writes = 0; ; writes += 1) {
      const asks = this.#settings.asks === 'always' || (this.#settings.asks === 'sometimes' && this.#random.chance(0.5))
      if (asks && !this.#believes(term, details)) return
      const isLate = isOver()
      // A leader that calls assertValid also stops at the signal; any other stops on command, or learns of its end from
      // the fence.
      if (isLate && (this.#settings.asks !== 'never' || steppedDown(term))) return
      if ((await this.#write(details, asks)) === 'refused') return
      if (isLate && nowMs() > (lateSince ??= nowMs()) + LATE_WRITES_MS) return
      if (writes === 0) this.#log.note('lingers', details)
      await systemClock.sleep(this.#random.between(3, 12))
    }
  }

  #believes(term: Term, details: { readonly grant: string }): boolean {
    try {
      term.assertValid()
      return true
    } catch (error) {
      this.#log.note('assertValid refused', { ...details, error: describe(error) })
      return false
    }
  }

  /** Writes to every sink; the first refusal ends it. */
  async #write(
    details: { readonly key: string; readonly grant: string; readonly token: number },
    asked: boolean,
  ): Promise<'accepted' | 'refused'> {
    const { key, grant, token } = details
    for (const [index, sink] of this.#sinks.entries()) {
      const write = `${grant}/${Math.round(nowMs() * 1_000)}`
      // The answer of assertValid covered the first write only.
      const end = this.#log.invoke('write', { ...details, sink: sink.name, text: write, asked: asked && index === 0 })
      try {
        await sink.write(key, token, grant, write)
        end('ok')
      } catch (error) {
        const refused = codeOf(error) === 'locks.fence_rejected'
        end(refused ? 'fail' : 'info', { error: describe(error), outcome: refused ? 'refused' : 'unknown' })
        if (refused) return 'refused'
      }
    }
    return 'accepted'
  }

  async #stepDown(reason: string): Promise<void> {
    await systemClock.sleep(this.#random.between(0, 20))
    this.#revoked?.('ok', { outcome: reason })
    this.#revoked = undefined
    this.#begin()
  }

  #heard(event: MembershipEvent): void {
    const { type, version } = event
    if ('member' in event) {
      const { instance, generation } = event.member
      const reason = event.type === 'dead' ? event.reason : undefined
      this.#log.note('member', { event: type, version, instance, generation, reason })
    } else {
      const members = event.view.members.map(({ instance, generation, status }) => ({ instance, generation, status }))
      this.#log.note('member', { event: type, version, members })
    }
  }
}

/** Time on the history's clock until which the leader believes in its term. */
function believesUntil(term: Term | undefined): number {
  return term === undefined ? 0 : nowMs() + term.validUntil() - Date.now()
}

function steppedDown({ signal }: Term): boolean {
  return signal.aborted && hasCode(signal.reason, 'election.term_over') && signal.reason.reason !== 'lost'
}

let candidate: Candidate | undefined
serve((place, settings) => {
  candidate = new Candidate(place, settings as ElectionSettings)
  return candidate
})
process.on('SIGTERM', () => {
  candidate?.note('SIGTERM')
  void (candidate?.close() ?? Promise.resolve()).finally(() => process.exit(0))
})
