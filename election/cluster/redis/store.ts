import type { Clock } from '../../../core/clock.ts'
import type { Logger } from '../../../core/logger.ts'
import { randomId } from '../../../core/random-id.ts'
import { defineScript, type RedisConnection, type Script } from '../../../core/redis/connection.ts'
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
import { ClusterKeys, tagOf } from './keys.ts'
import { changesReply, commitReply, membersReading, memberText, stateReading } from './script-replies.ts'
import { CHANGES } from './scripts-log.ts'
import { BEAT, DESCRIBE, JOIN, LEAVE, READ_MEMBERS, RESTORE, SWEEP } from './scripts-members.ts'
import { COMMIT, READ } from './scripts-state.ts'
import { Tail } from './tail.ts'

const readScript = defineScript(READ)
const commitScript = defineScript(COMMIT)
const membersScript = defineScript(READ_MEMBERS)
const joinScript = defineScript(JOIN)
const beatScript = defineScript(BEAT)
const sweepScript = defineScript(SWEEP)
const describeScript = defineScript(DESCRIBE)
const leaveScript = defineScript(LEAVE)
const restoreScript = defineScript(RESTORE)
const changesScript = defineScript(CHANGES)

export interface RedisClusterStoreFields {
  readonly commands: RedisConnection
  /** A connection for blocking reads. */
  readonly newReader: () => RedisConnection
  readonly prefix: string
  /** True on Redis Cluster, where one reader cannot read logs in several slots. */
  readonly isSharded: boolean
  readonly clock: Clock
  readonly logger: Logger
}

/** The cluster store on Redis; `scripts-log.ts` describes the keys. */
export class RedisClusterStore implements ClusterStore {
  readonly name = 'redis'
  readonly #fields: RedisClusterStoreFields
  readonly #id = randomId()
  readonly #keys = new Map<string, ClusterKeys>()
  /** Tail of all logs; on Redis Cluster each cluster's slot has its own. */
  readonly #tails = new Map<string, Tail>()
  #closed = false

  constructor(fields: RedisClusterStoreFields) {
    this.#fields = fields
  }

  async read(id: StateId, keys: readonly string[] = []): Promise<StateReading> {
    const { data, meta } = this.#of(id).of(id)
    return stateReading(await this.#run(readScript, [data, meta], keys))
  }

  async commit(request: CommitRequest): Promise<CommitReply> {
    const { id, requestId, attempt, since, keepChanges, keepDeletedMs } = request
    const keys = this.#of(id)
    const { data, log, meta } = keys.of(id)
    const members = keys.of({ state: undefined }).data
    const operations = request.operations.flatMap((operation) => {
      const { kind, key, ifVersion } = operation
      const isPut = operation.kind === 'put'
      const tag = isPut && operation.boundTo !== undefined ? tagOf(operation.boundTo) : '-'
      return [kind, key, ifVersion ?? '', isPut ? operation.json : '', tag]
    })
    const reply = await this.#run(
      commitScript,
      [data, log, meta, keys.tombs(id), keys.request(requestId), members],
      [
        keys.base,
        encodeURIComponent(id.state),
        requestId,
        attempt,
        since,
        keepChanges,
        keepDeletedMs * 1_000,
        ...operations,
      ],
    )
    return commitReply(reply)
  }

  async members(cluster: string): Promise<MembersReading> {
    const { data, meta } = this.#cluster(cluster).of({ state: undefined })
    return membersReading(await this.#run(membersScript, [data, meta], []))
  }

  async join(request: JoinRequest): Promise<JoinReply> {
    const { cluster, instance, joinId, json, suspectAfterMs, deadAfterMs } = request
    const args = [encodeURIComponent(instance), joinId, json, suspectAfterMs, deadAfterMs]
    const reply = await this.#runMembers(joinScript, cluster, args, joinId)
    const [status, generation] = reply as [string, string?]
    return status === 'joined' ? { status, generation: Number(generation) } : { status: 'given_up' }
  }

  async beat(cluster: string, instance: string, generation: number, guardMs: number): Promise<BeatReply> {
    const reply = await this.#runMembers(beatScript, cluster, [encodeURIComponent(instance), generation, guardMs])
    const [status, current] = reply as [string, string?]
    if (status === 'evicted') return { status, current: Number(current) || undefined }
    return { status: status === 'forgotten' ? 'forgotten' : 'confirmed' }
  }

  async sweep(cluster: string, guardMs: number): Promise<void> {
    await this.#runMembers(sweepScript, cluster, [guardMs])
  }

  async describe(request: DescribeRequest): Promise<'described' | 'evicted'> {
    const { cluster, instance, generation, sequence, json } = request
    const args = [encodeURIComponent(instance), generation, sequence, json]
    return (await this.#runMembers(describeScript, cluster, args)) === 1 ? 'described' : 'evicted'
  }

  async leave(cluster: string, instance: string, joinId: string, forget: boolean): Promise<void> {
    const args = [encodeURIComponent(instance), joinId, forget ? 1 : 0]
    await this.#runMembers(leaveScript, cluster, args, joinId)
  }

  async restore(cluster: string, members: readonly MemberRecord[]): Promise<void> {
    const args = members.flatMap((member) => [encodeURIComponent(member.instance), memberText(member)])
    await this.#runMembers(restoreScript, cluster, args)
  }

  async changes(log: LogId, after: number, limit: number): Promise<ChangesReply> {
    const keys = this.#of(log).of(log)
    return changesReply(await this.#run(changesScript, [keys.log, keys.meta], [after, limit]))
  }

  follow(log: LogId, after: number, follower: LogFollower): () => void {
    if (this.#closed) return () => {}
    return this.#tail(log.cluster).follow(this.#of(log).of(log), after, follower)
  }

  health(): { readonly status: 'up' | 'down' | 'idle'; readonly detail?: string } {
    for (const { problem } of this.#tails.values())
      if (problem !== undefined) return { status: 'down', detail: problem }
    return this.#fields.commands.health()
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const tail of this.#tails.values()) tail.close()
    this.#fields.commands.close()
  }

  #runMembers(script: Script, cluster: string, args: readonly (string | number)[], joinId?: string): Promise<unknown> {
    const keys = this.#cluster(cluster)
    const { data, log, meta } = keys.of({ state: undefined })
    const more = joinId === undefined ? [] : [keys.gone(joinId)]
    return this.#run(script, [data, log, meta, keys.due, ...more], [keys.base, ...args])
  }

  async #run(script: Script, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    if (this.#closed) throw new ClusterError('cluster.closed', { part: 'the cluster store' })
    return this.#fields.commands.run(script, keys, args)
  }

  #of({ cluster }: Pick<LogId, 'cluster'>): ClusterKeys {
    return this.#cluster(cluster)
  }

  #cluster(cluster: string): ClusterKeys {
    const keys = this.#keys.get(cluster) ?? new ClusterKeys(this.#fields.prefix, cluster)
    this.#keys.set(cluster, keys)
    return keys
  }

  #tail(cluster: string): Tail {
    const { isSharded, newReader, commands, prefix, clock, logger } = this.#fields
    const group = isSharded ? this.#cluster(cluster).base : prefix
    const tail =
      this.#tails.get(group) ??
      new Tail({ connection: newReader(), waker: commands, wakeKey: `${group}wake:${this.#id}`, clock, logger })
    this.#tails.set(group, tail)
    return tail
  }
}
