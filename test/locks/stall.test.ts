import { memoryLocks } from 'concordat/memory'
import { expect, it } from 'vitest'

it('assertValid throws after a real event-loop stall, while the signal has not fired', async () => {
  const locks = memoryLocks()
  const lease = await locks.acquire('k', { ttlMs: 100 })
  const { signal } = lease
  const seen = await new Promise<{ aborted: boolean; error: unknown }>((resolve) => {
    setImmediate(() => {
      const until = performance.now() + 150
      while (performance.now() < until);
      const aborted = signal.aborted
      try {
        lease.assertValid()
        resolve({ aborted, error: undefined })
      } catch (error) {
        resolve({ aborted, error })
      }
    })
  })
  expect(seen.aborted).toBe(false)
  expect(seen.error).toMatchObject({ code: 'locks.lost' })
  await locks.close()
})
