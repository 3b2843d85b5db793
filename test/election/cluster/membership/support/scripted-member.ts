/** A member on a memory server whose calls a test replaces, all on one clock that only the test moves. */
import { ClusterError, createMembership, type Membership } from 'concordat/cluster'
import type { ClusterStore } from 'concordat/extension'
import { memoryStateServer, memoryStateStore } from 'concordat/memory'
import type { MembershipOptions, PresenceEvent } from '../../../../support/inside/election.ts'
import { FakeClock } from '../../../../support/locks/fake-clock.ts'

export const TIMING = { heartbeatMs: 1_000, suspectAfterMs: 3_000, deadAfterMs: 10_000 }
export const away = (outcome: 'unknown' | 'not_done' = 'unknown'): Error =>
  new ClusterError('cluster.store_unavailable', { store: 'scripted', outcome, detail: 'no answer' })

/** Creates a member on a memory server, all on one clock that only the test moves. */
export function setup(options: Partial<MembershipOptions> = {}) {
  const clock = new FakeClock()
  const server = memoryStateServer({ clock })
  const inner = memoryStateStore({ server })
  const calls: Array<readonly [name: string, ...args: unknown[]]> = []
  /** Replacements for calls of the store. */
  const instead: Partial<Record<keyof ClusterStore, (...args: never[]) => unknown>> = {}
  const store = new Proxy(inner, {
    get: (target, name: keyof ClusterStore) => {
      const value = target[name]
      if (typeof value !== 'function') return value
      return (...args: never[]) => {
        if (name !== 'follow') calls.push([name, ...args])
        return (instead[name] ?? (value as (...values: never[]) => unknown).bind(target))(...args)
      }
    },
  })
  const membership = createMembership({
    store,
    cluster: 'c',
    service: 's',
    instance: 'a',
    clock,
    ...TIMING,
    ...options,
  })
  const heard: PresenceEvent[] = []
  membership.subscribe((event) => void heard.push(event))
  const count = (name: string): number => calls.filter(([called]) => called === name).length
  return { clock, server, inner, store, calls, instead, membership, heard, count }
}

/** Joined, with the clock at the moment of joining. */
export async function joined(options: Partial<MembershipOptions> = {}) {
  const context = setup(options)
  const presence = await context.membership.join()
  return { ...context, presence }
}

export const close = async (membership: Membership, clock: FakeClock): Promise<void> => {
  const closed = membership.close()
  await clock.advance(1_000)
  await closed
}
