import { createLocks, LockError } from 'concordat/locks'
import { memoryLockServer, memoryLocks } from 'concordat/memory'
import { describe, expect, it } from 'vitest'
import { drain, FakeClock } from '../support/locks/fake-clock.ts'
import { busy, ScriptedStore } from '../support/locks/scripted-store.ts'

const TTL_MS = 10_000

function setup() {
  const clock = new FakeClock()
  const store = new ScriptedStore()
  const locks = createLocks(store, { clock, owner: 'me', heartbeatMs: 1_000 })
  const tell = (token?: number): void => {
    for (const onTurn of store.listeners.values()) onTurn(token)
  }
  return { clock, store, locks, tell }
}

const inLine = { ...busy, position: 0, retryAfterMs: 60_000, lastToken: 10 }

describe('a waiter that is notified that it was handed the lock', () => {
  it('has it without another request, under the token of the notification', async () => {
    const { store, locks, tell } = setup()
    store.acquires.push(busy, inLine)
    const waiting = locks.acquire('k', { ttlMs: TTL_MS })
    await drain()
    tell(11)
    const lease = await waiting
    expect(lease.token).toBe(11)
    expect(store.requests.map(({ handOver }) => handOver)).toEqual([false, true])
    expect(await lease.release()).toBe('released')
  })

  it('counts the time of its lease from its last request, which was before the grant', async () => {
    const { clock, store, locks, tell } = setup()
    store.acquires.push(busy, inLine)
    const waiting = locks.acquire('k', { ttlMs: TTL_MS })
    await drain()
    await clock.advance(700)
    tell(11)
    expect((await waiting).remainingMs()).toBeLessThanOrEqual(TTL_MS - 700)
  })

  it('asks when half of that time is over, for the same grant with its time anew', async () => {
    const { clock, store, locks, tell } = setup()
    store.acquires.push(busy, inLine, { status: 'granted', token: 11 })
    const waiting = locks.acquire('k', { ttlMs: 1_000 })
    await drain()
    await clock.advance(700)
    tell(11)
    const lease = await waiting
    expect(lease.remainingMs()).toBeGreaterThan(700)
    expect(store.requests).toHaveLength(3)
  })

  it('does not believe a notification that may be from before its last refusal', async () => {
    const { store, locks, tell } = setup()
    store.acquires.push(busy, inLine, inLine, { status: 'granted', token: 12 })
    const waiting = locks.acquire('k')
    await drain()
    tell(10)
    await drain()
    expect(store.requests).toHaveLength(3)
    tell()
    expect((await waiting).token).toBe(12)
  })

  it('does not believe a store that never reports its last grant', async () => {
    const { store, locks, tell } = setup()
    store.acquires.push(busy, { ...inLine, lastToken: undefined }, { status: 'granted', token: 12 })
    const waiting = locks.acquire('k')
    await drain()
    tell(11)
    expect((await waiting).token).toBe(12)
  })

  it('asks after another notification before it could take the lock, such as a forced end', async () => {
    const { store, locks, tell } = setup()
    store.acquires.push(busy, inLine, { status: 'granted', token: 13 })
    const waiting = locks.acquire('k')
    await drain()
    tell(11)
    tell()
    expect((await waiting).token).toBe(13)
  })

  it('has a request refused that its release may overtake, when the answer to one was lost', async () => {
    const { clock, store, locks, tell } = setup()
    const lost = new LockError('locks.store_unavailable', { store: 'scripted', outcome: 'unknown', detail: 'lost' })
    store.acquires.push(busy, inLine, lost)
    const waiting = locks.acquire('k', { ttlMs: TTL_MS })
    await drain()
    await clock.advance(1_000)
    expect(store.requests).toHaveLength(3)
    tell(11)
    const lease = await waiting
    expect(lease.token).toBe(11)
    await lease.release()
    expect(store.released.map(({ forgetAfterMs }) => forgetAfterMs >= TTL_MS)).toEqual([true])
  })

  it('may be notified during its request, whose answer counts', async () => {
    const { store, locks, tell } = setup()
    const reply = Promise.withResolvers<{ status: 'granted'; token: number }>()
    store.acquires.push(busy, reply.promise)
    const waiting = locks.acquire('k')
    await drain()
    tell(11)
    reply.resolve({ status: 'granted', token: 11 })
    expect((await waiting).token).toBe(11)
    expect(store.requests).toHaveLength(2)
  })

  it('gives it back when it has given up', async () => {
    const { store, locks, tell } = setup()
    const giveUp = new AbortController()
    store.acquires.push(busy, inLine)
    const waiting = locks.acquire('k', { signal: giveUp.signal }).catch((error: unknown) => error)
    await drain()
    tell(11)
    giveUp.abort(new Error('enough'))
    expect(await waiting).toMatchObject({ message: 'enough' })
    await drain()
    expect(store.abandoned).toHaveLength(1)
  })
})

describe('a release in memory', () => {
  it('hands the lock on: each waiter asks once for its place and never again', async () => {
    const server = memoryLockServer()
    const asked: string[] = []
    const acquire = server.acquire.bind(server)
    Object.assign(server, {
      acquire: (...request: Parameters<typeof acquire>) => {
        asked.push('acquire')
        return acquire(...request)
      },
    })
    const first = memoryLocks({ server })
    const held = await first.acquire('k')
    const locks = memoryLocks({ server, heartbeatMs: 20_000 })
    const tokens: number[] = []
    const line = Array.from({ length: 5 }, () =>
      locks.using('k', {}, async (lease) => {
        lease.assertValid()
        tokens.push(lease.token)
      }),
    )
    await drain()
    expect((await first.inspect('k'))?.waiters).toHaveLength(5)
    asked.length = 0
    await held.release()
    await Promise.all(line)
    expect(asked).toEqual([])
    expect(tokens).toEqual(tokens.toSorted((a, b) => a - b))
    expect(Math.min(...tokens)).toBeGreaterThan(held.token)
    expect(await first.inspect('k')).toBeUndefined()
    await Promise.all([locks.close(), first.close()])
  })
})
