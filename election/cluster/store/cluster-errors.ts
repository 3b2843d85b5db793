import { type ErrorClass, type ErrorOf, errorClass, reasonOf } from '../../../core/define-error-class.ts'

/**
 * Reason why a generation of a membership has ended.
 * - `dead`: the other members received no heartbeat for `deadAfterMs`, or the store lost it.
 * - `replaced`: a later process joined with the same instance id.
 * - `left`: it left.
 */
export type EvictedReason = 'dead' | 'replaced' | 'left'

const EVICTED: Readonly<Record<EvictedReason, string>> = {
  dead: 'it was not heard of in time. Stop its work; it may join again, as a new generation',
  replaced: 'another process joined with the same instance id. Stop its work; give each process an id of its own',
  left: 'it left. Join again before you use it',
}

/** Fields of a `ClusterError`, by code. */
export interface ClusterErrors {
  /**
   * The store cannot be reached, does not answer in time, or is not ready. With the `outcome` `unknown` the step may have
   * happened, or may still happen: read before you rely on it.
   */
  'cluster.store_unavailable': { store: string; outcome: 'not_done' | 'unknown'; detail: string }
  /** The store refused and would refuse again: wrong type under the key, missing permission, script error. */
  'cluster.store_refused': { store: string }
  /** Used after `close()`, or waiting at that time. */
  'cluster.closed': { part: string }
  /** This generation of a member has ended and can do nothing more. */
  'cluster.member_evicted': { instance: string; generation: number; reason: EvictedReason }
  /** No heartbeat was confirmed for so long that the other members may suspect this one: act as if it were alone. */
  'cluster.member_isolated': { instance: string; generation: number; afterMs: number }
  /**
   * The key does not have the version that the write expected. Read it again, and decide again. `version` is its current version;
   * 0 when it has none.
   */
  'cluster.state_conflict': { state: string; key: string; expected: number; version: number }
  /** A key, a value or metadata that cannot be stored unchanged. */
  'cluster.data_invalid': { subject: string; problem: string }
  /** Larger than the limit; store a reference instead. */
  'cluster.data_too_large': { subject: string; bytes: number; maxBytes: number }
}

/** Error of members and shared state. Its fields depend on its `code`: see `ClusterErrors`. */
export type ClusterError<Code extends keyof ClusterErrors = keyof ClusterErrors> = ErrorOf<ClusterErrors, Code>

/** Error of members and shared state. Its fields depend on its `code`: see `ClusterErrors`. */
export const ClusterError: ErrorClass<ClusterErrors> = errorClass<ClusterErrors>(
  'ClusterError',
  {
    'cluster.store_unavailable': ({ store, outcome, detail }) => {
      const remedy =
        outcome === 'unknown'
          ? 'whether it was done is unknown: read the state before you go on'
          : 'nothing was done: try again'
      return `cluster store ${store} is unavailable: ${detail}; ${remedy}`
    },
    'cluster.store_refused': ({ store }, cause) =>
      `cluster store ${store} refused: ${reasonOf(cause)}. Check the prefix, the permissions and the server version`,
    'cluster.closed': ({ part }) =>
      `${part}: expected it open, got it closed: use nothing of it after close(), or make another`,
    'cluster.member_evicted': ({ instance, generation, reason }) =>
      `member "${instance}", generation ${generation}, is over: ${EVICTED[reason]}`,
    'cluster.member_isolated': ({ instance, generation, afterMs }) =>
      `member "${instance}", generation ${generation}, is isolated: no heartbeat was confirmed for ${afterMs} ms. Stop what only a member may do until it has reconnected`,
    'cluster.state_conflict': ({ state, key, expected, version }) =>
      `"${key}" of state "${state}" has version ${version}, not ${expected}: read it again, or use update(), which does`,
    'cluster.data_invalid': ({ subject, problem }) => `${subject}: ${problem}`,
    'cluster.data_too_large': ({ subject, bytes, maxBytes }) =>
      `${subject} has ${bytes} bytes, more than ${maxBytes}: keep it elsewhere and a reference here, or raise the limit`,
  },
  ['cluster.store_unavailable', 'cluster.member_isolated', 'cluster.state_conflict'],
)
