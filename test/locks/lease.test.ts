import { createLocks, LockError } from 'concordat/locks'
import { describe, expect, it } from 'vitest'
import { drain, FakeClock } from '../support/locks/fake-clock.ts'
import { ScriptedStore, silence } from '../support/locks/scripted-store.ts'

/** ttl 1000: margin 1 % + 2 ms + 2 % = 32 ms, so valid for 968 ms and renewed every 322.67 ms, at most a sixteenth early. */
const VALID_MS = 968
const EARLY_MS = 323 / 16
const down = (): Error =>
  new LockError('locks.store_unavailable', { store: 'scripted', outcome: 'unknown', detail: 'scripted outage' })

function setup() {
  const clock = new FakeClock()
  const store = new ScriptedStore()
  const locks = createLocks(store, { clock })
  const acquire = (options: object = {}) => locks.acquire('k', { ttlMs: 1_000, ...options })
  return { clock, store, locks, acquire }
}

describe('validity', () => {
  it('counts from before the winning request', async () => {
    const { clock, store, acquire } = setup()
    const reply = Promise.withResolvers<{ status: 'granted'; token: number }>()
    store.acquires.push(reply.promise)
    const acquiring = acquire()
    await clock.advance(300)
    reply.resolve({ status: 'granted', token: 7 })
    const lease = await acquiring
    expect(lease.remainingMs()).toBe(VALID_MS - 300)
    expect(lease.validUntil()).toBe(clock.now() + VALID_MS - 300)
  })

  it('never hands out a grant that took its whole ttl to arrive, and gives it back', async () => {
    const { clock, store, acquire } = setup()
    const reply = Promise.withResolvers<{ status: 'granted'; token: number }>()
    store.acquires.push(reply.promise)
    const acquiring = acquire()
    await clock.advance(VALID_MS)
    reply.resolve({ status: 'granted', token: 7 })
    await expect(acquiring).rejects.toMatchObject({ code: 'locks.store_unavailable' })
    await drain()
    expect(store.abandoned).toHaveLength(1)
  })

  it('is over after a stall although neither the signal nor a timer has fired', async () => {
    const { clock, acquire } = setup()
    const lease = await acquire()
    const { signal } = lease
    clock.stall(VALID_MS)
    expect(signal.aborted).toBe(false)
    expect(() => lease.assertValid()).toThrow(expect.objectContaining({ code: 'locks.lost' }))
    expect(signal.aborted).toBe(true)
  })

  it('is over after a suspend, which the monotonic clock does not see', async () => {
    const { clock, acquire } = setup()
    const lease = await acquire()
    clock.suspend(VALID_MS)
    expect(lease.remainingMs()).toBe(0)
    expect(lease.state).toBe('lost')
  })

  it('does not grow when the wall clock is set back', async () => {
    const { clock, acquire } = setup()
    const lease = await acquire()
    clock.suspend(-60_000)
    clock.stall(100)
    expect(lease.remainingMs()).toBe(VALID_MS - 100)
  })

  it('keeps a larger margin for a while after the event loop was late, or the store', async () => {
    const { clock, store, acquire } = setup()
    await acquire()
    expect((await acquire()).remainingMs()).toBe(VALID_MS)
    const slow = Promise.withResolvers<{ status: 'granted'; token: number }>()
    store.acquires.push(slow.promise)
    const acquiring = acquire()
    clock.stall(50)
    slow.resolve({ status: 'granted', token: 9 })
    await acquiring
    // 2 x 50 ms instead of 20 ms.
    expect((await acquire()).remainingMs()).toBe(VALID_MS - 80)
    await clock.advance(60_000)
    expect((await acquire()).remainingMs()).toBeGreaterThan(VALID_MS - 31)
    clock.stall(5_000)
    await clock.advance(1)
    expect((await acquire()).remainingMs()).toBe(1_000 - 12 - 250)
  })

  it('refuses when less is left than required, and stays held', async () => {
    const { clock, acquire } = setup()
    const lease = await acquire()
    clock.stall(500)
    expect(() => lease.assertValid(469)).toThrow('468 ms of validity are left, 469 ms were asked for')
    lease.assertValid(468)
    expect(lease.state).toBe('held')
  })
})

describe('renewal', () => {
  it('counts from its own sending, not from its confirmation', async () => {
    const { clock, store, acquire } = setup()
    const reply = Promise.withResolvers<'extended'>()
    store.extends.push(reply.promise)
    const lease = await acquire()
    await clock.advance(323)
    await clock.advance(100)
    reply.resolve('extended')
    await drain()
    expect(lease.remainingMs()).toBeGreaterThan(VALID_MS - 100 - EARLY_MS)
    expect(lease.remainingMs()).toBeLessThanOrEqual(VALID_MS - 100)
  })

  it('runs every third of the validity, or a little earlier', async () => {
    const { clock, store, acquire } = setup()
    const lease = await acquire()
    await clock.advance(10_000)
    expect(lease.state).toBe('held')
    const renewals = store.calls.filter((call) => call === 'extend').length
    expect(renewals).toBeGreaterThanOrEqual(30)
    expect(renewals).toBeLessThanOrEqual(33)
    expect(lease.remainingMs()).toBeGreaterThan((VALID_MS * 2) / 3 - 1)
  })

  it('meets that of other leases: what falls due at about the same time leaves in one turn', async () => {
    const { clock, store, locks } = setup()
    for (let n = 0; n < 50; n++) {
      await locks.acquire(`k${n}`)
      await clock.advance(1)
    }
    const moments: number[] = []
    store.extend = () => {
      moments.push(clock.monotonic())
      return Promise.resolve('extended')
    }
    await clock.advance(3_300)
    expect(moments).toHaveLength(50)
    expect(new Set(moments).size).toBeLessThanOrEqual(2)
  })

  it('survives two failures in a row', async () => {
    const { clock, store, acquire } = setup()
    const lease = await acquire()
    store.extends.push(down(), down())
    await clock.advance(900)
    expect(lease.state).toBe('held')
    expect(lease.remainingMs()).toBeGreaterThan(300)
  })

  it('gives up a silent try after half an interval and tries again', async () => {
    const { clock, store, acquire } = setup()
    const lease = await acquire()
    store.extends.push(silence())
    await clock.advance(700)
    expect(store.calls.filter((call) => call === 'extend').length).toBeGreaterThanOrEqual(2)
    expect(lease.state).toBe('held')
  })

  it('aborts the signal at the deadline when the store is silent, not later', async () => {
    const { clock, store, acquire } = setup()
    for (let n = 0; n < 20; n++) store.extends.push(silence())
    const lease = await acquire()
    const { signal } = lease
    await clock.advance(VALID_MS - 1)
    expect(signal.aborted).toBe(false)
    await clock.advance(1)
    expect(signal.aborted).toBe(true)
    expect(signal.reason).toMatchObject({ code: 'locks.lost', reason: 'expired', key: 'k', token: lease.token })
  })

  it('does not revive a lease whose confirmation comes after the deadline', async () => {
    const { clock, store, acquire } = setup()
    const reply = Promise.withResolvers<'extended'>()
    store.extends.push(reply.promise)
    const lease = await acquire()
    await clock.advance(330)
    // The old deadline is over; the store's extension would last until 1290.
    clock.stall(700)
    reply.resolve('extended')
    await drain()
    expect(lease.state).toBe('lost')
    expect(lease.remainingMs()).toBe(0)
    await clock.advance(10_000)
    expect(lease.state).toBe('lost')
  })

  it('ends the lease at once when the store reports that it is not ours', async () => {
    const { clock, store, acquire } = setup()
    store.extends.push('lost')
    const lease = await acquire()
    await clock.advance(323)
    expect(() => lease.assertValid()).toThrow(expect.objectContaining({ reason: 'displaced' }))
  })

  it('verifies at once after the connection came back', async () => {
    const { store, acquire, clock } = setup()
    const lease = await acquire()
    store.extends.push('lost')
    store.doubted(undefined)
    await clock.advance(0)
    expect(lease.state).toBe('lost')
  })

  it('verifies again when the connection came back during a renewal, whose answer may be older', async () => {
    const { store, acquire, clock } = setup()
    const lease = await acquire()
    const answer = Promise.withResolvers<'extended'>()
    store.extends.push(answer.promise, 'lost')
    await clock.advance(323)
    store.doubted(undefined)
    answer.resolve('extended')
    await clock.advance(0)
    expect(lease.state).toBe('lost')
  })

  it('does not begin after maxHoldMs', async () => {
    const { clock, store, acquire } = setup()
    const lease = await acquire({ maxHoldMs: 700 })
    const { signal } = lease
    await clock.advance(3_000)
    expect(store.calls.filter((call) => call === 'extend')).toHaveLength(2)
    expect(signal.reason).toMatchObject({ reason: 'max_hold' })
  })

  it('is switched off by maxHoldMs 0', async () => {
    const { clock, store, acquire } = setup()
    await acquire({ maxHoldMs: 0 })
    await clock.advance(3_000)
    expect(store.calls).not.toContain('extend')
  })
})

describe('release', () => {
  it('ends the belief before the store is called', async () => {
    const { store, acquire } = setup()
    const reply = Promise.withResolvers<'released'>()
    store.releases.push(reply.promise)
    const lease = await acquire()
    const releasing = lease.release()
    expect(lease.state).toBe('releasing')
    expect(() => lease.assertValid()).toThrow(expect.objectContaining({ reason: 'released' }))
    reply.resolve('released')
    expect(await releasing).toBe('released')
    expect(lease.state).toBe('released')
  })

  it('leaves no timer behind but those that all leases share', async () => {
    const { clock, acquire } = setup()
    const lease = await acquire()
    await clock.advance(400)
    await lease.release()
    for (let n = 0; n < 100; n++) await (await acquire()).release()
    // One of them probes the store's health.
    expect(clock.pendingTimers).toBeLessThanOrEqual(3)
    await clock.advance(400)
    expect(clock.pendingTimers).toBe(1)
  })

  it('leaves no timer at all behind when the locks are closed', async () => {
    const { clock, locks, acquire } = setup()
    await (await acquire()).release()
    await acquire()
    await locks.close()
    expect(clock.pendingTimers).toBe(0)
  })

  it('is idempotent', async () => {
    const { store, acquire } = setup()
    const lease = await acquire()
    expect(await Promise.all([lease.release(), lease.release()])).toEqual(['released', 'released'])
    expect(store.calls.filter((call) => call === 'release')).toHaveLength(1)
  })

  it('reports a lock that was no longer ours as lost', async () => {
    const { store, acquire } = setup()
    store.releases.push('lost')
    const lease = await acquire()
    expect(await lease.release()).toBe('lost')
    expect(lease.state).toBe('lost')
  })

  it('makes no request when the lease is over already', async () => {
    const { clock, store, acquire } = setup()
    const lease = await acquire()
    clock.stall(VALID_MS)
    expect(await lease.release()).toBe('lost')
    expect(store.calls).not.toContain('release')
  })

  it('keeps its caller a second when the store fails, and tries on until the validity is over', async () => {
    const { clock, store, acquire } = setup()
    for (let n = 0; n < 200; n++) store.releases.push(down())
    const lease = await acquire({ ttlMs: 4_000 })
    const releasing = lease.release()
    await clock.advance(1_000)
    expect(await releasing).toBe('unconfirmed')
    await clock.advance(1_000)
    const tries = store.calls.length
    expect(tries).toBeGreaterThan(30)
    await clock.advance(20_000)
    const count = (name: string): number => store.calls.filter((call) => call === name).length
    // A probe of the store's health is an acquisition with a release of its own.
    expect(count('release') - (count('acquire') - 1)).toBeLessThan(2 + 4_000 / 50)
  })

  it('calls it unconfirmed when a second try finds the lock gone', async () => {
    const { clock, store, acquire } = setup()
    store.releases.push(down(), 'lost')
    const lease = await acquire()
    const releasing = lease.release()
    await clock.advance(100)
    expect(await releasing).toBe('unconfirmed')
  })
})
