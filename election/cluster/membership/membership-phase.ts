/** Where an instance is on its way through a cluster, as one value: a presence is there exactly while it is a member. */
import type { MembershipState } from './membership.ts'
import type { HeldPresence } from './membership-presence.ts'

export type Phase =
  | { readonly state: 'observing' | 'joining' | 'evicted'; readonly presence?: undefined }
  | { readonly state: 'alive' | 'isolated'; readonly presence: HeldPresence }

/** As others are to see it: a presence that is over by the clocks is in doubt, though nothing has run yet that says so. */
export function seenAs({ state, presence }: Phase): MembershipState {
  return state === 'alive' && !presence.isValid ? 'isolated' : state
}
