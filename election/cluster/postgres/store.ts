import { storableText } from '../../../core/escape-nul.ts'
import type { StoreStatementRunner } from '../../../core/store-statement-runner.ts'
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
import {
  type CommitRow,
  commitReply,
  type EntryRow,
  logEntry,
  memberRecord,
  membersText,
  operationsText,
  type StateRow,
  stateRecord,
} from './row-conversion.ts'
import type { Tail } from './tail.ts'
import type { LogWakes, StoredLog } from './wakes.ts'

interface Touching {
  readonly touched: readonly string[]
}

/** The cluster store on PostgreSQL or PGlite: each step is one call of a function; `tables.ts` describes the tables. */
export class PostgresClusterStore implements ClusterStore {
  readonly name = 'postgres'
  readonly #steps: StoreStatementRunner
  readonly #tail: Tail
  readonly #wakes: LogWakes
  readonly #text: ReturnType<typeof texts>
  #closed = false

  constructor(fields: { steps: StoreStatementRunner; tail: Tail; wakes: LogWakes; schema: string }) {
    this.#steps = fields.steps
    this.#tail = fields.tail
    this.#wakes = fields.wakes
    this.#text = texts(fields.schema)
  }

  async read(id: StateId, keys?: readonly string[]): Promise<StateReading> {
    const { cluster, log } = stored(id)
    const [row] = await this.#run<{ revision: string | null; records: readonly StateRow[] }>(
      keys === undefined ? this.#text.read : this.#text.readKeys,
      [cluster, log, ...(keys === undefined ? [] : [keys.map(storableText)])],
    )
    return { revision: Number(row?.revision ?? 0), records: (row?.records ?? []).map(stateRecord) }
  }

  async commit(request: CommitRequest): Promise<CommitReply> {
    const { id, operations, requestId, attempt, since, keepChanges, keepDeletedMs } = request
    const at = stored(id)
    const bound = operations.flatMap((one) =>
      one.kind === 'put' && one.boundTo !== undefined ? [storableText(one.boundTo.instance)] : [],
    )
    const [row] = await this.#run<CommitRow>(this.#text.commit, [
      at.cluster,
      at.log,
      requestId,
      attempt,
      String(since),
      keepChanges,
      String(keepDeletedMs * 1_000),
      operationsText(operations),
      [...new Set(bound)],
    ])
    const reply = commitReply(row as CommitRow)
    if (reply.status === 'committed' && reply.changed) this.#wakes.tell([at])
    return reply
  }

  async members(cluster: string): Promise<MembersReading> {
    const [row] = await this.#run<{ revision: string; records: readonly MemberRecord[] }>(this.#text.members, [
      storableText(cluster),
    ])
    return { revision: Number(row?.revision ?? 0), records: (row?.records ?? []).map(memberRecord) }
  }

  async join({ cluster, instance, joinId, json, suspectAfterMs, deadAfterMs }: JoinRequest): Promise<JoinReply> {
    const { status, given } = await this.#change<{ status: JoinReply['status']; given: string }>(
      this.#text.join,
      cluster,
      [storableText(instance), joinId, json, String(suspectAfterMs), String(deadAfterMs)],
    )
    return status === 'joined' ? { status, generation: Number(given) } : { status: 'given_up' }
  }

  async beat(cluster: string, instance: string, generation: number, guardMs: number): Promise<BeatReply> {
    const { status, current } = await this.#change<{ status: BeatReply['status']; current: string | null }>(
      this.#text.beat,
      cluster,
      [storableText(instance), String(generation), String(guardMs)],
    )
    if (status === 'evicted') return { status, current: current === null ? undefined : Number(current) }
    return { status }
  }

  async sweep(cluster: string, guardMs: number): Promise<void> {
    await this.#change(this.#text.sweep, cluster, [String(guardMs)])
  }

  async describe({ cluster, instance, generation, sequence, json }: DescribeRequest): Promise<'described' | 'evicted'> {
    const args = [storableText(instance), String(generation), String(sequence), json]
    const { done } = await this.#change<{ done: boolean }>(this.#text.describe, cluster, args)
    return done ? 'described' : 'evicted'
  }

  async leave(cluster: string, instance: string, joinId: string, forget: boolean): Promise<void> {
    await this.#change(this.#text.leave, cluster, [storableText(instance), joinId, forget])
  }

  async restore(cluster: string, members: readonly MemberRecord[]): Promise<void> {
    if (members.length > 0) await this.#change(this.#text.restore, cluster, [membersText(members)])
  }

  async changes(log: LogId, after: number, limit: number): Promise<ChangesReply> {
    const at = stored(log)
    const [row] = await this.#run<{ status: ChangesReply['status']; entries: readonly EntryRow[] | null }>(
      this.#text.changes,
      [at.cluster, at.log, String(after), limit],
    )
    const { status = after > 0 ? 'rolled_back' : 'ok', entries } = row ?? {}
    return status === 'ok' ? { status, entries: (entries ?? []).map(logEntry) } : { status }
  }

  follow(log: LogId, after: number, follower: LogFollower): () => void {
    if (this.#closed) return () => {}
    this.#wakes.listen(stored(log))
    return this.#tail.follow(stored(log), after, follower)
  }

  refuseInside(): void {
    this.#steps.refuseInside()
  }

  health(): { readonly status: 'up' | 'down' | 'idle'; readonly detail?: string } {
    const { problem } = this.#tail
    return problem === undefined ? this.#steps.health() : { status: 'down', detail: problem }
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#tail.close()
    this.#wakes.close()
    this.#steps.close()
  }

  /** Runs a step on the members, which may end some, and change states with them. */
  async #change<Row extends object = object>(
    text: string,
    cluster: string,
    parameters: readonly unknown[],
  ): Promise<Row> {
    const [row] = await this.#run<Row & Touching>(text, [storableText(cluster), ...parameters])
    const { touched } = row as Row & Touching
    this.#wakes.tell([...new Set(touched)].map((log) => ({ cluster: storableText(cluster), log })))
    return row as Row
  }

  async #run<Row extends object>(text: string, parameters: readonly unknown[]): Promise<readonly Row[]> {
    if (this.#closed) throw new ClusterError('cluster.closed', { part: 'the cluster store' })
    return this.#steps.run<Row>(text, parameters)
  }
}

function stored({ cluster, state }: LogId): StoredLog {
  return { cluster: storableText(cluster), log: state === undefined ? 'members' : `state/${storableText(state)}` }
}

/** Numbers beyond 2^31 arrive as text; in JSON they are exact, because they are below 2^53. */
function texts(schema: string) {
  const head = `(SELECT h.revision FROM ${schema}.cluster_head h WHERE h.cluster = $1 AND h.log = $2)`
  const record = `json_build_object('key', key, 'version', version, 'json', json, 'instance', instance, 'generation', generation)`
  const member = `json_build_object('instance', instance, 'generation', generation, 'status', status, 'joinedAt', joined_at,
    'sequence', sequence, 'suspectAfterMs', suspect_ms, 'deadAfterMs', dead_ms, 'joinId', join_id, 'json', json)`
  return {
    read: `SELECT ${head}::text AS revision, coalesce(json_agg(${record} ORDER BY key), '[]') AS records
      FROM ${schema}.cluster_entry WHERE cluster = $1 AND log = $2`,
    readKeys: `SELECT ${head}::text AS revision, coalesce(json_agg(${record} ORDER BY n), '[]') AS records
      FROM (SELECT asked.key, asked.n, coalesce(e.version, 0) AS version, e.json, e.instance, e.generation
        FROM unnest($3::text[]) WITH ORDINALITY AS asked(key, n)
        LEFT JOIN ${schema}.cluster_entry e ON e.cluster = $1 AND e.log = $2 AND e.key = asked.key) found`,
    commit: `SELECT status, at_revision::text, changed, found_key, found_version::text, found_json, found_instance, found_generation::text
      FROM ${schema}.cluster_commit($1, $2, $3, $4, $5::bigint, $6, $7::bigint, $8::json, $9::text[])`,
    members: `SELECT coalesce((SELECT h.revision FROM ${schema}.cluster_head h WHERE h.cluster = $1 AND h.log = 'members'), 0)::text AS revision,
      (SELECT coalesce(json_agg(${member} ORDER BY instance), '[]') FROM ${schema}.cluster_member WHERE cluster = $1) AS records`,
    join: `SELECT status, given::text, touched FROM ${schema}.cluster_join($1, $2, $3, $4, $5::bigint, $6::bigint)`,
    beat: `SELECT status, current::text, touched FROM ${schema}.cluster_beat($1, $2, $3::bigint, $4::bigint)`,
    sweep: `SELECT touched FROM ${schema}.cluster_sweep($1, $2::bigint)`,
    describe: `SELECT done, touched FROM ${schema}.cluster_describe($1, $2, $3::bigint, $4::bigint, $5)`,
    leave: `SELECT touched FROM ${schema}.cluster_leave($1, $2, $3, $4)`,
    restore: `SELECT touched FROM ${schema}.cluster_restore($1, $2::json)`,
    changes: `SELECT status, entries FROM ${schema}.cluster_changes($1, $2, $3::bigint, $4)`,
  }
}
