/** State of an instance in a cluster, as one value that has a presence exactly while it is a member. */
import type { MembershipState } from './membership.ts'
import type { HeldPresence } from './presence-validity.ts'

export type Phase =
  | { readonly state: 'observing' | 'joining' | 'evicted'; readonly presence?: undefined }
  | { readonly state: 'alive' | 'isolated'; readonly presence: HeldPresence }

/** Returns the public state: a presence that has expired by the clocks is in doubt, even before a timer has fired. */
export function seenAs({ state, presence }: Phase): MembershipState {
  return state === 'alive' && !presence.isValid ? 'isolated' : state
}
