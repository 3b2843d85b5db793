/** Members and states on a private Redis, and links to it that fail; all of it is closed after each test. */

import { createMembership, createSharedState, type Membership, type SharedState } from 'concordat/cluster'
import type { ClusterStore } from 'concordat/extension'
import { redisStateStore } from 'concordat/redis'
import { afterEach, beforeEach } from 'vitest'
import { Link } from '../../faults/harness/link.ts'
import type {
  MembershipEvent,
  MembershipOptions,
  RedisStateStoreOptions,
  SharedStateOptions,
} from '../inside/election.ts'
import { type PrivateServer, portOf } from '../servers/index.ts'
import { until } from '../until.ts'

export const FAST = { heartbeatMs: 50, suspectAfterMs: 300, deadAfterMs: 900 }

interface Closable {
  close(): Promise<void>
}

export function clusterOn(start: () => Promise<PrivateServer>) {
  const open: Closable[] = []
  const opened = <C extends Closable>(part: C): C => {
    open.unshift(part)
    return part
  }
  const context = { server: undefined as unknown as PrivateServer }
  beforeEach(async () => {
    context.server = await start()
  })
  afterEach(async () => {
    context.server.resume()
    for (const part of open.splice(0)) await part.close()
    await context.server.stop()
  })
  const store = (options: Partial<RedisStateStoreOptions> = {}): ClusterStore =>
    opened(redisStateStore({ url: context.server.url, answerMs: 300, ...options }))
  const link = async (): Promise<{ readonly link: Link; readonly store: ClusterStore }> => {
    const link = opened(await Link.to(portOf(context.server)))
    return { link, store: store({ url: `redis://127.0.0.1:${link.port}` }) }
  }
  const member = (instance: string, options: Partial<MembershipOptions> = {}): Membership =>
    opened(createMembership({ store: store(), cluster: 'c', service: 's', instance, ...FAST, ...options }))
  const state = <T = number>(options: Partial<SharedStateOptions<T>> = {}): SharedState<T> =>
    opened(createSharedState({ store: store(), name: 's', ...options }))
  const events = (membership: Membership): MembershipEvent[] => {
    const heard: MembershipEvent[] = []
    membership.watch((event) => void heard.push(event))
    return heard
  }
  /** Members that all see each other. */
  const members = async (...instances: string[]): Promise<Membership[]> => {
    const all = instances.map((instance) => member(instance))
    await Promise.all(all.map((one) => one.join()))
    await until('all see all', () => all.every((one) => one.members().length === instances.length))
    return all
  }
  return { context, store, link, member, members, state, events }
}
