import { randomUUID } from 'node:crypto'
import { expect, it } from 'vitest'
import { until } from '../support/until.ts'
import type { LocksContext } from './locks-kit.ts'

/** A store whose memory is full refuses new entries; existing locks are renewed and released. */
export function fullCases({ contender, has }: LocksContext, full: (isFull: boolean) => Promise<void>): void {
  const modes = has('shared') ? ([{}, { mode: 'shared' }, { permits: 2 }] as const) : ([{}] as const)

  it.each(modes)('a full memory takes no lease away, and lets it be given back: %j', async (mode) => {
    const holder = contender()
    const key = randomUUID()
    const lease = await holder.acquire(key, { ttlMs: 900, ...mode })
    await full(true)
    try {
      const expiresAt = performance.now() + 2_500
      await until('it would have been over twice', () => lease.state !== 'held' || performance.now() > expiresAt)
      lease.assertValid()
      await expect(contender().tryAcquire(randomUUID())).rejects.toMatchObject({
        code: 'locks.store_unavailable',
        outcome: 'not_done',
      })
      expect(await lease.release()).toBe('released')
    } finally {
      await full(false)
    }
    expect(await contender().tryAcquire(key)).toBeDefined()
  })
}
