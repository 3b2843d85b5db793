import { createLocks, LockError } from 'concordat/locks'
import { describe, expect, it } from 'vitest'
import { drain, FakeClock } from '../support/locks/fake-clock.ts'
import { busy, ScriptedStore, silence } from '../support/locks/scripted-store.ts'

const notSent = (): Error =>
  new LockError('locks.store_unavailable', { store: 'scripted', outcome: 'not_done', detail: 'not connected' })
const noAnswer = (): Error =>
  new LockError('locks.store_unavailable', { store: 'scripted', outcome: 'unknown', detail: 'no answer' })

function setup() {
  const clock = new FakeClock()
  const store = new ScriptedStore()
  const locks = createLocks(store, { clock, owner: 'me', heartbeatMs: 1_000 })
  return { clock, store, locks }
}

/** The rejection, watched from the start so that it is never unhandled. */
const rejectionOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => 'resolved',
    (error: unknown) => error,
  )

describe('an attempt', () => {
  it('that never reached the store leaves nothing to undo', async () => {
    const { store, locks } = setup()
    store.acquires.push(notSent())
    await expect(locks.tryAcquire('k')).rejects.toMatchObject({ outcome: 'not_done' })
    await drain()
    expect(store.calls).toEqual(['acquire'])
  })

  it('that found the lock taken gives back what it left all the same, unless it goes on waiting', async () => {
    const { store, locks } = setup()
    store.acquires.push({ ...busy, leftTrace: true })
    expect(await locks.tryAcquire('k')).toBeUndefined()
    store.acquires.push({ ...busy, leftTrace: true })
    await expect(locks.acquire('k', { waitMs: 0 })).rejects.toMatchObject({ code: 'locks.busy' })
    await drain()
    expect(store.abandoned.map(({ value }) => value)).toEqual(['1.me', '2.me'])
    store.acquires.push({ ...busy, leftTrace: true })
    const lease = await locks.acquire('k', { waitMs: 10_000 })
    expect(lease.token).toBeGreaterThan(0)
    expect(store.abandoned).toHaveLength(2)
  })

  it('without an answer is undone in the background, with a tombstone that outlives stragglers', async () => {
    const { clock, store, locks } = setup()
    store.acquires.push(noAnswer())
    store.abandons.push(notSent(), noAnswer())
    await expect(locks.tryAcquire('k', { ttlMs: 3_000 })).rejects.toMatchObject({ outcome: 'unknown' })
    await clock.advance(500)
    expect(store.abandoned).toEqual([{ value: '1.me', forgetAfterMs: 60_000 }])
  })

  it('is undone for as long as it may have had an effect, not longer', async () => {
    const { clock, store, locks } = setup()
    store.acquires.push(noAnswer())
    for (let n = 0; n < 100; n++) store.abandons.push(notSent())
    await expect(locks.tryAcquire('k', { ttlMs: 3_000 })).rejects.toThrow()
    await clock.advance(300_000)
    expect(store.abandoned).toEqual([])
    expect(store.calls.filter((call) => call === 'abandon').length).toBeLessThan(90)
    // The probe of the store's health.
    expect(clock.pendingTimers).toBe(1)
  })

  it('an attempt that was refused permanently is not undone and not tried again', async () => {
    const { store, locks } = setup()
    store.acquires.push(new LockError('locks.store_refused', { store: 'scripted' }, new Error('WRONGTYPE')))
    await expect(locks.acquire('k')).rejects.toMatchObject({ code: 'locks.store_refused' })
    expect(store.calls).toEqual(['acquire'])
  })

  it('an attempt that is aborted while under way rejects at once and is undone', async () => {
    const { store, locks } = setup()
    const giveUp = new AbortController()
    store.acquires.push(silence())
    const trying = rejectionOf(locks.tryAcquire('k', { signal: giveUp.signal }))
    const reason = new Error('enough')
    giveUp.abort(reason)
    expect(await trying).toBe(reason)
    await drain()
    expect(store.abandoned).toHaveLength(1)
    expect(store.abandoned[0]?.forgetAfterMs).toBeGreaterThan(0)
  })

  it('sends the highest token seen so far, of any key, as the floor', async () => {
    const { store, locks } = setup()
    store.acquires.push({ status: 'granted', token: 500 })
    await locks.acquire('a')
    await locks.acquire('b')
    await locks.acquire('c', { tokenAbove: 900 })
    expect(store.requests.map((request) => request.tokenFloor)).toEqual([0, 500, 900])
  })
})

describe('waiting', () => {
  it('tries once without a place, then listens, takes its place, and asks under one value until granted', async () => {
    const { clock, store, locks } = setup()
    const inLine = { ...busy, position: 5 }
    store.acquires.push(busy, inLine, inLine)
    const waiting = locks.acquire('k')
    await clock.advance(2_000)
    expect((await waiting).token).toBe(1)
    expect(store.requests.map((request) => request.keepPlaceMs)).toEqual([0, 3_000, 3_000, 3_000])
    expect(new Set(store.requests.map((request) => request.value)).size).toBe(1)
    expect(store.listeners.size).toBe(0)
  })

  it('asks when it is notified of its turn, without waiting for the heartbeat', async () => {
    const { store, locks } = setup()
    store.acquires.push(busy, { ...busy, position: 0, retryAfterMs: 60_000 })
    const waiting = locks.acquire('k')
    await drain()
    expect(store.requests).toHaveLength(2)
    for (const onTurn of store.listeners.values()) onTurn()
    await waiting
    expect(store.requests).toHaveLength(3)
  })

  it('does not miss a turn that comes while it asks', async () => {
    const { store, locks } = setup()
    const reply = Promise.withResolvers<typeof busy>()
    store.acquires.push(busy, reply.promise)
    const waiting = locks.acquire('k')
    await drain()
    for (const onTurn of store.listeners.values()) onTurn()
    reply.resolve({ ...busy, retryAfterMs: 60_000 })
    await waiting
    expect(store.requests).toHaveLength(3)
  })

  it('asks when the time of the holder is over, if it is first in line', async () => {
    const { clock, store, locks } = setup()
    store.acquires.push(busy, { ...busy, position: 0, retryAfterMs: 400 })
    const waiting = locks.acquire('k')
    await clock.advance(400)
    expect(store.requests).toHaveLength(2)
    await clock.advance(1)
    await waiting
  })

  it('counts validity from the try that won, not from the first', async () => {
    const { clock, store, locks } = setup()
    for (let n = 0; n < 20; n++) store.acquires.push({ ...busy, position: 9 })
    const waiting = locks.acquire('k', { ttlMs: 1_000, waitMs: 60_000 })
    await clock.advance(25_000)
    expect((await waiting).remainingMs()).toBeGreaterThan(300)
  })

  it('keeps its place over a short outage, and gives up after two seconds of it', async () => {
    const { clock, store, locks } = setup()
    store.acquires.push(busy, { ...busy, position: 3 })
    for (let n = 0; n < 15; n++) store.acquires.push(notSent())
    const survivor = locks.acquire('k', { waitMs: 60_000 })
    await clock.advance(5_000)
    await survivor
    store.acquires.push(busy, { ...busy, position: 3 })
    for (let n = 0; n < 50; n++) store.acquires.push(notSent())
    const waiting = rejectionOf(locks.acquire('k2', { waitMs: 60_000 }))
    await clock.advance(4_000)
    expect(await waiting).toMatchObject({ code: 'locks.store_unavailable' })
  })

  it('fails at once when the store is down at the beginning', async () => {
    const { store, locks } = setup()
    store.acquires.push(notSent())
    await expect(locks.acquire('k', { waitMs: 60_000 })).rejects.toMatchObject({ code: 'locks.store_unavailable' })
  })

  it('leaves the line when it times out, with a tombstone only if a try was under way', async () => {
    const { clock, store, locks } = setup()
    store.acquires.push(busy, { ...busy, position: 3 })
    const calm = rejectionOf(locks.acquire('k', { waitMs: 200 }))
    await clock.advance(200)
    expect(await calm).toMatchObject({ code: 'locks.timeout', position: 3 })
    store.acquires.push(busy, silence())
    const hurried = rejectionOf(locks.acquire('k', { waitMs: 200, ttlMs: 5_000 }))
    await clock.advance(200)
    expect(await hurried).toMatchObject({ code: 'locks.timeout' })
    expect(store.abandoned.map((each) => each.forgetAfterMs)).toEqual([0, 60_000])
    expect(store.listeners.size).toBe(0)
  })

  it('gives back a grant that comes after it timed out', async () => {
    const { clock, store, locks } = setup()
    const late = Promise.withResolvers<{ status: 'granted'; token: number }>()
    store.acquires.push(busy, late.promise)
    const waiting = rejectionOf(locks.acquire('k', { waitMs: 200 }))
    await clock.advance(200)
    late.resolve({ status: 'granted', token: 3 })
    expect(await waiting).toMatchObject({ code: 'locks.timeout' })
    await drain()
    expect(store.abandoned).toHaveLength(1)
    expect(locks.health()).toMatchObject({ held: 0, waiting: 0 })
  })
})

describe('a release', () => {
  it('leaves a tombstone when an earlier request of the lock may yet arrive', async () => {
    const { clock, store, locks } = setup()
    store.acquires.push(busy, { ...busy, position: 0 }, noAnswer())
    const waiting = locks.acquire('k', { ttlMs: 2_000 })
    await clock.advance(2_000)
    await (await waiting).release()
    await (await locks.acquire('other')).release()
    expect(store.released.map(({ forgetAfterMs }) => forgetAfterMs)).toEqual([60_000, 0])
  })
})

describe('closing', () => {
  it('does not wait forever for a store that is silent', async () => {
    const { clock, store, locks } = setup()
    store.releases.push(silence())
    await locks.acquire('k')
    const closing = locks.close()
    await clock.advance(2_500)
    await closing
    expect(store.calls.at(-1)).toBe('close')
  })

  it('gives back a lock that is granted while it closes', async () => {
    const { clock, store, locks } = setup()
    const grant = Promise.withResolvers<{ status: 'granted'; token: number }>()
    store.acquires.push(grant.promise)
    const trying = locks.tryAcquire('k').catch((error: unknown) => error)
    const closing = locks.close()
    grant.resolve({ status: 'granted', token: 1 })
    await clock.advance(100)
    await closing
    expect(await trying).toMatchObject({ code: 'locks.closed' })
    expect(store.calls).toEqual(['acquire', 'abandon', 'close'])
  })

  it('waits until open attempts are undone', async () => {
    const { clock, store, locks } = setup()
    store.acquires.push(noAnswer())
    store.abandons.push(notSent())
    await expect(locks.tryAcquire('k')).rejects.toThrow()
    const closing = locks.close()
    await clock.advance(300)
    await closing
    expect(store.calls).toEqual(['acquire', 'abandon', 'abandon', 'close'])
  })
})

describe('options', () => {
  it('are checked at construction', () => {
    const store = new ScriptedStore()
    expect(() => createLocks(store, { owner: '' })).toThrow('locks.owner')
    expect(() => createLocks(store, { owner: '\ud800' })).toThrow('locks.owner: expected well-formed text')
    expect(() => createLocks(store, { heartbeatMs: 1 })).toThrow('locks.heartbeatMs')
    expect(() => createLocks(store, { heartbeatMs: 2 ** 53 - 1 })).toThrow('locks.heartbeatMs')
    expect(() => createLocks(store, { stallMarginMs: -1 })).toThrow('locks.stallMarginMs')
    expect(() => createLocks(store, { heartbeat: 1 } as never)).toThrow('Did you mean "heartbeatMs"?')
    expect(() => createLocks({ url: 'redis://x' } as never)).toThrow('createLocks.store: expected a lock store')
  })

  it('refuse a ttl that the margin eats up', async () => {
    const locks = createLocks(new ScriptedStore(), { stallMarginMs: 500 })
    await expect(locks.acquire('k', { ttlMs: 900 })).rejects.toThrow('at least twice the margin of 511 ms')
  })
})
