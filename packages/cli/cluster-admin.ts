/** Members and shared state, read from their store without joining. */

import { type ClusterStore, requireText } from 'concordat/extension'
import type { MemberRecord } from './engine-types.ts'

/** The members of a cluster store that the operator uses. */
export type OperatedCluster = Pick<ClusterStore, 'members' | 'read'>

/** A member, as stored. */
export interface MemberLine {
  readonly instance: string
  /** Increases with every join in the cluster. */
  readonly generation: number
  readonly status: 'alive' | 'suspect'
  readonly service: string | null
  readonly group: string | null
  /** Epoch ms by the store's clock. */
  readonly joinedAt: number
  readonly meta: Readonly<Record<string, unknown>>
}

/** A key of a shared state. */
export interface StateLine {
  readonly key: string
  readonly value: unknown
  readonly version: number
  /** The member with whose end it is deleted. */
  readonly boundTo: string | null
}

/** Reads a cluster. */
export interface ClusterAdmin {
  /**
   * Members by instance; none for a cluster that the store does not know. @throws OperatorStoreMissing,
   * `cluster.store_unavailable`
   */
  members(cluster: string): Promise<readonly MemberLine[]>
  /** By key, without deleted ones. @throws the errors of `members` */
  state(cluster: string, state: string): Promise<readonly StateLine[]>
}

export class StoreClusterAdmin implements ClusterAdmin {
  readonly #open: () => Promise<OperatedCluster>

  constructor(open: () => Promise<OperatedCluster>) {
    this.#open = open
  }

  async members(cluster: string): Promise<readonly MemberLine[]> {
    const { records } = await (await this.#open()).members(requireText('cluster.members', cluster))
    return records.map(lineOf).sort((a, b) => (a.instance < b.instance ? -1 : 1))
  }

  async state(cluster: string, state: string): Promise<readonly StateLine[]> {
    const id = {
      cluster: requireText('cluster.state.cluster', cluster),
      state: requireText('cluster.state.state', state),
    }
    const { records } = await (await this.#open()).read(id)
    const lines = records.flatMap(({ key, version, json, boundTo }) =>
      json === undefined ? [] : [{ key, value: parsed(json), version, boundTo: boundTo?.instance ?? null }],
    )
    return lines.sort((a, b) => (a.key < b.key ? -1 : 1))
  }
}

function lineOf({ instance, generation, status, joinedAt, json }: MemberRecord): MemberLine {
  const said = parsed(json)
  const { service, group, meta } = (typeof said === 'object' && said !== null ? said : {}) as Record<string, unknown>
  return {
    instance,
    generation,
    status,
    service: typeof service === 'string' ? service : null,
    group: typeof group === 'string' ? group : null,
    joinedAt,
    meta: (typeof meta === 'object' && meta !== null ? meta : {}) as Readonly<Record<string, unknown>>,
  }
}

/** Text that is not JSON was written by another program: it is shown unchanged. */
function parsed(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return json
  }
}
