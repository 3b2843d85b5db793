import { memoryLockServer, memoryLocks } from 'concordat/memory'
import { describe, expect, it } from 'vitest'
import { FakeClock } from '../support/locks/fake-clock.ts'

function setup() {
  const clock = new FakeClock()
  const server = memoryLockServer({ clock })
  return { clock, server, a: memoryLocks({ server, clock }), b: memoryLocks({ server, clock }) }
}

describe.for(['exclusive', 'shared'] as const)('a lock delay (%s)', (mode) => {
  const options = { mode, ttlMs: 1_000, lockDelayMs: 500 }

  it('counts from the end of the ttl, to the millisecond', async () => {
    const { clock, a, b } = setup()
    const lease = await a.acquire('k', { ...options, maxHoldMs: 0 })
    await clock.advance(999)
    expect(lease.state).toBe('lost')
    await clock.advance(500)
    expect(await b.tryAcquire('k')).toBeUndefined()
    expect((await b.inspect('k'))?.holders).toMatchObject([{ expiresInMs: 0, freesInMs: 1 }])
    await clock.advance(1)
    expect(await b.inspect('k')).toBeUndefined()
    expect(await b.tryAcquire('k')).toMatchObject({ state: 'held' })
  })

  it('counts from the last renewal of a holder that stops renewing', async () => {
    const { clock, a, b } = setup()
    const lease = await a.acquire('k', { ...options, maxHoldMs: 2_000 })
    while (lease.state === 'held') await clock.advance(50)
    const lostAt = clock.monotonic()
    while ((await b.tryAcquire('k')) === undefined) await clock.advance(10)
    // The margin of the holder, 32 ms, and the delay; the steps are 50 and 10 ms.
    expect(clock.monotonic() - lostAt).toBeGreaterThanOrEqual(500 + 32 - 50)
    expect(clock.monotonic() - lostAt).toBeLessThanOrEqual(500 + 32 + 10)
  })

  it('is over with a release, whenever it comes', async () => {
    const { clock, a, b } = setup()
    const lease = await a.acquire('k', options)
    await clock.advance(5_000)
    await lease.release()
    expect(await b.tryAcquire('k')).toMatchObject({ state: 'held' })
  })
})
