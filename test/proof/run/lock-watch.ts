import { setTimeout as sleep } from 'node:timers/promises'
import type { SqlClient } from 'concordat/core'

const LOOK_EVERY_MS = 250

/**
 * Waits for a write under the lock with a higher token than any before this call: when all faults are over, a clerk
 * must still get the lock.
 * @returns the number of such writes still missing at the deadline: 0 or 1
 */
export async function missingTurn(shop: SqlClient, withinMs: number, signal?: AbortSignal): Promise<0 | 1> {
  const deadline = performance.now() + withinMs
  let before: number | undefined
  for (;;) {
    // A database that does not answer is asked again.
    const highest = await highestToken(shop).catch(() => undefined)
    before ??= highest
    if (highest !== undefined && before !== undefined && highest > before) return 0
    if (performance.now() >= deadline) return 1
    await sleep(Math.min(LOOK_EVERY_MS, withinMs), undefined, { signal })
  }
}

async function highestToken(shop: SqlClient): Promise<number> {
  const { rows } = await shop.query<{ token: string }>('SELECT coalesce(max(token), 0) AS token FROM fenced')
  return Number(rows[0]?.token)
}
