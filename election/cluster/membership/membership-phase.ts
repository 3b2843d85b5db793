/** Where an instance is on its way through a cluster, as one value: a presence is there exactly while it is a member. */
import type { MembershipState } from './membership.ts'
import type { HeldPresence } from './presence-validity.ts'

export type Phase =
  | { readonly state: 'observing' | 'joining' | 'evicted'; readonly presence?: undefined }
  | { readonly state: 'alive' | 'isolated'; readonly presence: HeldPresence }

/** State for others: a presence whose time is over by the clocks is in doubt, even before a timer has noticed. */
export function seenAs({ state, presence }: Phase): MembershipState {
  return state === 'alive' && !presence.isValid ? 'isolated' : state
}
