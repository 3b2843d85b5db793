import { CallHealth } from '../../../core/call-health.ts'
import type { Clock } from '../../../core/clock.ts'
import { hasCode } from '../../../core/errors.ts'
import { newId } from '../../../core/ids.ts'
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
} from './cluster-store.ts'

/** State that a probe writes to. */
const PROBE: StateId = { cluster: 'concordat/probe', state: 'probe' }

/**
 * A store whose `health` says what the last call of each kind said. A store that is idle, or whose last call failed, is probed: by a read,
 * or by a write once this process has written, which needs the same rights, room and replicas.
 */
export class HealthProbingClusterStore implements ClusterStore {
  readonly name: string
  readonly refuseInside: ClusterStore['refuseInside']
  readonly #store: ClusterStore
  readonly #calls: CallHealth
  #writes = false

  constructor(store: ClusterStore, clock: Clock) {
    this.#store = store
    this.name = store.name
    this.refuseInside = store.refuseInside?.bind(store)
    this.#calls = new CallHealth({
      clock,
      probe: () => this.#probe(),
      isFailure: (error) => hasCode(error, 'cluster.store_unavailable') || hasCode(error, 'cluster.store_refused'),
    })
  }

  read(id: StateId, keys?: readonly string[]): Promise<StateReading> {
    return this.#calls.track(this.#store.read(id, keys), 'read')
  }

  commit(request: CommitRequest): Promise<CommitReply> {
    return this.#written(this.#store.commit(request), 'commit')
  }

  members(cluster: string): Promise<MembersReading> {
    return this.#calls.track(this.#store.members(cluster), 'members')
  }

  join(request: JoinRequest): Promise<JoinReply> {
    return this.#written(this.#store.join(request), 'join')
  }

  beat(cluster: string, instance: string, generation: number, guardMs: number): Promise<BeatReply> {
    return this.#written(this.#store.beat(cluster, instance, generation, guardMs), 'beat')
  }

  sweep(cluster: string, guardMs: number): Promise<void> {
    return this.#written(this.#store.sweep(cluster, guardMs), 'sweep')
  }

  describe(request: DescribeRequest): Promise<'described' | 'evicted'> {
    return this.#written(this.#store.describe(request), 'describe')
  }

  leave(cluster: string, instance: string, joinId: string, forget: boolean): Promise<void> {
    return this.#written(this.#store.leave(cluster, instance, joinId, forget), 'leave')
  }

  restore(cluster: string, members: readonly MemberRecord[]): Promise<void> {
    return this.#written(this.#store.restore(cluster, members), 'restore')
  }

  changes(log: LogId, after: number, limit: number): Promise<ChangesReply> {
    return this.#calls.track(this.#store.changes(log, after, limit), 'changes')
  }

  follow(log: LogId, after: number, follower: LogFollower): () => void {
    return this.#store.follow(log, after, follower)
  }

  /** A connection that is known to be lost is `down` before the next call. */
  health(): ReturnType<ClusterStore['health']> {
    const store = this.#store.health()
    const calls = this.#calls.state()
    return store.status === 'down' || calls.status !== 'down' ? store : calls
  }

  close(): Promise<void> {
    this.#calls.close()
    return this.#store.close()
  }

  #written<T>(call: Promise<T>, kind: string): Promise<T> {
    this.#writes = true
    return this.#calls.track(call, kind)
  }

  #probe(): Promise<unknown> {
    if (!this.#writes) return this.#store.read(PROBE, ['probe'])
    const put = { kind: 'put', key: 'probe', ifVersion: undefined, json: 'true' } as const
    const times = { attempt: 1, since: 0, keepChanges: 1, keepDeletedMs: 0 }
    return this.#store.commit({ ...times, id: PROBE, operations: [put], requestId: newId() })
  }
}
