/**
 * What the processes of a run have in common beside messages: a switch that says whether payments are taken, and a board
 * with a line of each instance. In the memory of the one process, or on Redis.
 */

import { createSharedState, type SharedState } from 'concordat/cluster'
import type { ClusterStore } from 'concordat/cluster/store'
import { z } from 'zod'

/** The config that payments follow; see `payments/switch.ts` and `operator/operator.ts`. */
export const PAYMENTS_SWITCH = 'payments.switch'
export const PaymentsSwitch = z.object({ paused: z.boolean() })
export type PaymentsSwitch = z.infer<typeof PaymentsSwitch>

export function openSettings(store: ClusterStore): SharedState<PaymentsSwitch> {
  return createSharedState({ store, name: 'settings', schema: PaymentsSwitch })
}

const BoardLine = z.object({ handled: z.int().nonnegative() })
export type BoardLine = z.infer<typeof BoardLine>

/** Keys are instances. */
export function openBoard(store: ClusterStore): SharedState<BoardLine> {
  return createSharedState({ store, name: 'board', schema: BoardLine })
}
