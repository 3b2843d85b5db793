import type { Clock } from '../../../core/clock.ts'
import type { LogId, StateId } from '../store/cluster-store.ts'
import type { MemoryLog } from './log.ts'
import { MemoryMembers, type Moment } from './members.ts'
import { MemoryState } from './state.ts'

interface Cluster {
  readonly members: MemoryMembers
  readonly states: Map<string, MemoryState>
}

/**
 * In-memory counterpart of Redis for `redisStateStore`: clusters and states that all users of this server share. Every step is
 * synchronous, so atomic. Uses only memory and needs no close.
 */
export class MemoryStateServer {
  readonly #clock: Clock
  readonly #clusters = new Map<string, Cluster>()
  #lastUs = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  members(cluster: string): MemoryMembers {
    return this.#cluster(cluster).members
  }

  state({ cluster, state }: StateId): MemoryState {
    const { members, states } = this.#cluster(cluster)
    const found = states.get(state) ?? new MemoryState((member) => members.isCurrent(member))
    states.set(state, found)
    return found
  }

  log({ cluster, state }: LogId): MemoryLog {
    return state === undefined ? this.members(cluster).log : this.state({ cluster, state }).log
  }

  /** Returns the server's time. The clock has milliseconds; calls within one are numbered. */
  moment(): Moment {
    this.#lastUs = Math.max(this.#lastUs + 1, Math.floor(this.#clock.now() * 1_000))
    return { us: this.#lastUs, ms: this.#clock.monotonic() }
  }

  /** Loses everything, like a Redis that restarts without persistence. For tests. */
  clear(): void {
    for (const { members, states } of this.#clusters.values()) {
      for (const state of states.values()) state.clear()
      members.clear()
    }
  }

  #cluster(name: string): Cluster {
    const found = this.#clusters.get(name)
    if (found !== undefined) return found
    const states = new Map<string, MemoryState>()
    const members = new MemoryMembers((member, { us }) => {
      for (const state of states.values()) state.unbind(member, us)
    })
    const cluster = { members, states }
    this.#clusters.set(name, cluster)
    return cluster
  }
}
