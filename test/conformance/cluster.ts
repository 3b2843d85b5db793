/**
 * THE cluster conformance suite: `election/cluster/membership/membership.ts`, `election/cluster/state/state.ts` and `election/cluster/store/cluster-store.ts` as tests.
 * Every store passes all of it, Redis on a real server. Each `store()` has connections of its own, like a process.
 */
import { randomUUID } from 'node:crypto'
import { createMembership, createSharedState, type Membership, type SharedState } from 'concordat/cluster'
import type { ClusterStore } from 'concordat/extension'
import { afterAll, afterEach, beforeAll, describe } from 'vitest'
import type { MembershipOptions, SharedStateOptions } from '../support/inside/election.ts'
import { persistent } from '../support/refusals.ts'
import { boundCases } from './cluster-bound.ts'
import { memberCases } from './cluster-members.ts'
import { resumeCases } from './cluster-resume.ts'
import { stateCases } from './cluster-state.ts'
import { storeCases } from './cluster-store.ts'
import { watchCases } from './cluster-watch.ts'

export interface ClusterHarness {
  /** Opens another process's connection to the same server. */
  store(): ClusterStore
  /** The server loses everything. */
  wipe(): Promise<void>
  close(): Promise<void>
}

/** Tools for a case; all of them are closed after it. */
export interface ClusterContext {
  readonly store: () => ClusterStore
  readonly wipe: () => Promise<void>
  readonly member: (options: Partial<MembershipOptions> & { readonly cluster: string }) => Membership
  readonly state: <T = unknown>(options?: Partial<SharedStateOptions<T>>) => SharedState<T>
}

/**
 * Calls for which the contract leaves the retry to the caller when the store refuses; in the other suites nothing is
 * refused.
 */
const OF_STATES = ['get', 'entries', 'put', 'delete', 'update', 'transact', 'mirror'] as const
const OF_MEMBERS = ['ready', 'join'] as const

/** @param parts without `members` no memberships, without `store` no calls of the bare store */
export function clusterConformance(
  name: string,
  setup: () => Promise<ClusterHarness>,
  parts: { readonly members?: boolean; readonly store?: boolean } = {},
): void {
  describe(`${name} cluster conformance`, () => {
    let harness: ClusterHarness
    const open: Array<{ close(): Promise<void> }> = []
    const opened = <C extends { close(): Promise<void> }>(part: C): C => {
      open.unshift(part)
      return part
    }
    beforeAll(async () => {
      harness = await setup()
    })
    afterAll(() => harness.close())
    afterEach(async () => {
      // The last ones first: a store after what uses it.
      for (const part of open.splice(0)) await part.close()
    })
    const context: ClusterContext = {
      store: () => opened(harness.store()),
      wipe: () => harness.wipe(),
      member: (options) => {
        const store = options.store ?? context.store()
        return opened(persistent(createMembership({ service: 'test', ...options, store }), OF_MEMBERS))
      },
      state: (options = {}) => {
        const store = options.store ?? context.store()
        return opened(persistent(createSharedState({ name: randomUUID(), ...options, store }), OF_STATES))
      },
    }

    if (parts.store !== false) storeCases(context)
    stateCases(context)
    boundCases(context)
    watchCases(context)
    resumeCases(context)
    if (parts.members !== false) memberCases(context)
  })
}
