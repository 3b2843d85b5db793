import { ClusterError } from '../store/cluster-errors.ts'
import type {
  BeatReply,
  ChangesReply,
  ClusterStore,
  CommitReply,
  CommitRequest,
  DescribeRequest,
  JoinReply,
  JoinRequest,
  LogFollower,
  LogId,
  MemberRecord,
  MembersReading,
  StateId,
  StateReading,
} from '../store/cluster-store.ts'
import type { MemoryStateServer } from './server.ts'

/** The memory server as seen by one process. A call has been executed when it returns, so outcomes are never unknown. */
export class MemoryClusterStore implements ClusterStore {
  readonly name = 'memory'
  readonly #server: MemoryStateServer
  readonly #following = new Set<() => void>()
  #closed = false

  constructor(server: MemoryStateServer) {
    this.#server = server
  }

  async read(id: StateId, keys?: readonly string[]): Promise<StateReading> {
    return this.#open().state(id).read(keys)
  }

  async commit(request: CommitRequest): Promise<CommitReply> {
    return this.#open().state(request.id).commit(request, this.#server.moment().us)
  }

  async members(cluster: string): Promise<MembersReading> {
    return this.#open().members(cluster).read()
  }

  async join(request: JoinRequest): Promise<JoinReply> {
    return this.#open().members(request.cluster).join(request, this.#server.moment())
  }

  async beat(cluster: string, instance: string, generation: number, guardMs: number): Promise<BeatReply> {
    return this.#open().members(cluster).beat(instance, generation, guardMs, this.#server.moment())
  }

  async sweep(cluster: string, guardMs: number): Promise<void> {
    this.#open().members(cluster).sweep(guardMs, this.#server.moment())
  }

  async describe(request: DescribeRequest): Promise<'described' | 'evicted'> {
    return this.#open().members(request.cluster).describe(request, this.#server.moment())
  }

  async leave(cluster: string, instance: string, joinId: string, forget: boolean): Promise<void> {
    this.#open().members(cluster).leave(instance, joinId, forget, this.#server.moment())
  }

  async restore(cluster: string, members: readonly MemberRecord[]): Promise<void> {
    this.#open().members(cluster).restore(members, this.#server.moment())
  }

  async changes(log: LogId, after: number, limit: number): Promise<ChangesReply> {
    return this.#open().log(log).read(after, limit)
  }

  follow(log: LogId, after: number, follower: LogFollower): () => void {
    const stop = this.#server.log(log).follow(after, follower)
    this.#following.add(stop)
    return () => {
      this.#following.delete(stop)
      stop()
    }
  }

  health(): { status: 'up' } {
    return { status: 'up' }
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const stop of this.#following) stop()
    this.#following.clear()
  }

  #open(): MemoryStateServer {
    if (this.#closed) throw new ClusterError('cluster.closed', { part: 'the cluster store' })
    return this.#server
  }
}
