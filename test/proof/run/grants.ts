/** Limit up to which the publishers may send: by finished work, by time and by the faults still to come. */
import { STRETCH_MS, WINDOW } from '../settings.ts'

export interface Grant {
  readonly upTo: number
}

/** Progress of a run. */
export interface Standing {
  /** All that there are. */
  readonly orders: number
  readonly faults: number
  /** Faults that are over. */
  readonly played: number
  /** Orders that are done. */
  readonly done: number
  /** Number granted before, and its age. */
  readonly granted: number
  readonly elapsedMs: number
}

/** Half a stretch more than the running fault's own stretch: work continues during the fault. */
const AHEAD = 1.5
/** However long a fault lasts, there is always a little to do: of a stretch. */
const TRICKLE = 0.1

/** Never less than before. */
export function grantUpTo({ orders, faults, played, done, granted, elapsedMs }: Standing): number {
  const stretch = orders / Math.max(faults, 1)
  const byPlan = Math.max((played + AHEAD) * stretch, done + Math.max(1, TRICKLE * stretch))
  const byFaults = played >= faults ? orders : Math.ceil(byPlan)
  const byTime = granted + Math.ceil((stretch * elapsedMs) / STRETCH_MS)
  return Math.max(granted, Math.min(orders, done + WINDOW, byFaults, byTime))
}

/** Number of done orders at which a fault begins: somewhere in its stretch. @param share 0 to 1 */
export function beginsAt(
  { orders, faults }: Pick<Standing, 'orders' | 'faults'>,
  fault: number,
  share: number,
): number {
  return Math.floor(((fault + share) * orders) / faults)
}
