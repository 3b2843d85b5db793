/**
 * Shared state of a run: the payments switch, and a board with a line per instance. Stored in the memory of the process
 * (embedded), in Redis, or in PostgreSQL (`--transport postgres`).
 */

import { createSharedState, type SharedState } from 'concordat/cluster'
import type { ClusterStore } from 'concordat/extension'
import { z } from 'zod'

/** Config that the payments service watches; see `payments/switch.ts` and `operator/operator.ts`. */
export const PAYMENTS_SWITCH = 'payments.switch'
export const PaymentsSwitch = z.object({ paused: z.boolean() })
export type PaymentsSwitch = z.infer<typeof PaymentsSwitch>

export function openSettings(store: ClusterStore): SharedState<PaymentsSwitch> {
  return createSharedState({ store, name: 'settings', schema: PaymentsSwitch })
}

const BoardLine = z.object({ handled: z.int().nonnegative() })
export type BoardLine = z.infer<typeof BoardLine>

/** Opens the board, whose keys are instance names. */
export function openBoard(store: ClusterStore): SharedState<BoardLine> {
  return createSharedState({ store, name: 'board', schema: BoardLine })
}
