/** The cluster state server of the world, as an instance sees it. */
import { ClusterError } from 'concordat/cluster'
import { systemClock } from 'concordat/core'
import type { ClusterStore, LogEntry, LogFollower } from 'concordat/extension'
import { type MemoryStateServer, memoryStateServer, memoryStateStore } from 'concordat/memory'
import { runIn } from './current-process.ts'
import type { FaultKind } from './faults.ts'
import { Lane, type Server } from './server.ts'
import type { SimulatedProcess } from './simulated-process.ts'
import type { World } from './world.ts'

const FAULTS: readonly FaultKind[] = ['kill', 'kill-after', 'freeze', 'drop', 'drop-after', 'delay', 'restart']
const ANSWER_MS = 1_000

export class ClusterServer {
  readonly server: Server
  readonly state: MemoryStateServer

  constructor(world: World) {
    this.server = world.server('cluster')
    this.state = memoryStateServer({ clock: systemClock })
  }
}

type Calls = 'read' | 'commit' | 'members' | 'join' | 'beat' | 'sweep' | 'describe' | 'leave' | 'restore' | 'changes'
type Args<Name extends Calls> = Parameters<ClusterStore[Name]>
type Reply<Name extends Calls> = ReturnType<ClusterStore[Name]>

export class SimulatedClusterStore implements ClusterStore {
  readonly name = 'memory'
  readonly #world: World
  readonly #instance: SimulatedProcess
  readonly #cluster: ClusterServer
  readonly #inner: ClusterStore

  constructor(world: World, instance: SimulatedProcess, cluster: ClusterServer) {
    this.#world = world
    this.#instance = instance
    this.#cluster = cluster
    this.#inner = memoryStateStore({ server: cluster.state })
    instance.onEnd(() => void this.close())
  }

  read(...args: Args<'read'>): Reply<'read'> {
    return this.#call('read', () => this.#inner.read(...args))
  }

  commit(...args: Args<'commit'>): Reply<'commit'> {
    return this.#call('commit', () => this.#inner.commit(...args))
  }

  members(...args: Args<'members'>): Reply<'members'> {
    return this.#call('members', () => this.#inner.members(...args))
  }

  join(...args: Args<'join'>): Reply<'join'> {
    return this.#call('join', () => this.#inner.join(...args))
  }

  beat(...args: Args<'beat'>): Reply<'beat'> {
    return this.#call('beat', () => this.#inner.beat(...args))
  }

  sweep(...args: Args<'sweep'>): Reply<'sweep'> {
    return this.#call('sweep', () => this.#inner.sweep(...args))
  }

  describe(...args: Args<'describe'>): Reply<'describe'> {
    return this.#call('describe', () => this.#inner.describe(...args))
  }

  leave(...args: Args<'leave'>): Reply<'leave'> {
    return this.#call('leave', () => this.#inner.leave(...args))
  }

  restore(...args: Args<'restore'>): Reply<'restore'> {
    return this.#call('restore', () => this.#inner.restore(...args))
  }

  changes(...args: Args<'changes'>): Reply<'changes'> {
    return this.#call('changes', () => this.#inner.changes(...args))
  }

  follow(log: Parameters<ClusterStore['follow']>[0], after: number, follower: LogFollower): () => void {
    const lane = new Lane()
    let isStopped = false
    const tell = (told: () => void): void => {
      const { timeline } = this.#world
      const atMs = lane.after(timeline.nowMs + this.#world.faults.latencyMs(this.#instance, 'cluster follow'))
      this.#instance.receiveAt(atMs, () => {
        if (!isStopped) told()
      })
    }
    const stop = runIn(this.#world.atServer, () =>
      this.#inner.follow(log, after, {
        onEntries: (entries: readonly LogEntry[]) => tell(() => follower.onEntries(entries)),
        onRollback: () => tell(() => follower.onRollback()),
      }),
    )
    return () => {
      isStopped = true
      stop()
    }
  }

  health(): { readonly status: 'up' | 'down' } {
    return { status: this.#cluster.server.isAway ? 'down' : 'up' }
  }

  close(): Promise<void> {
    return runIn(this.#world.atServer, () => this.#inner.close())
  }

  #call<T>(what: string, run: () => Promise<T>): Promise<T> {
    return this.#world.call(this.#instance, {
      point: `cluster ${what}`,
      server: this.#cluster.server,
      faults: FAULTS,
      run,
      answerMs: ANSWER_MS,
      lost: (isDone) =>
        new ClusterError('cluster.store_unavailable', {
          store: 'memory',
          outcome: isDone ? 'unknown' : 'not_done',
          detail: 'the connection is lost',
        }),
    })
  }
}
