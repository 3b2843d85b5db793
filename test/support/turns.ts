import { onTestFinished } from 'vitest'

/** CPU time of each handler call: longer than the event loop may be kept without a turn. */
const BUSY_MS = 12

/** Counts the calls between two turns of the event loop, as a timer sees them. */
export function watchTurns(): { readonly call: () => void; readonly most: () => number } {
  let inThisTurn = 0
  let most = 0
  const timer = setInterval(() => (inThisTurn = 0), 1)
  onTestFinished(() => clearInterval(timer))
  const call = (): void => {
    most = Math.max(most, ++inThisTurn)
    const endsAt = performance.now() + BUSY_MS
    while (performance.now() < endsAt);
  }
  return { call, most: () => most }
}
