import { createLocks, LockError } from 'concordat/locks'
import { memoryLockServer } from 'concordat/memory'
import { describe, expect, it } from 'vitest'
import { FakeClock } from '../support/locks/fake-clock.ts'
import { FaultyNetwork, FaultyStore } from '../support/locks/faulty-store.ts'

describe('an acquire that is aborted during its request gives back a possible grant', () => {
  it.each([
    ['any', new Error('changed my mind')],
    [
      'the failure of another acquire that was sure',
      new LockError('locks.store_unavailable', { store: 'redis', outcome: 'not_done', detail: 'not connected' }),
    ],
    ['the refusal of another acquire', new LockError('locks.store_refused', { store: 'redis' }, new Error('NOPERM'))],
  ])('with %s error as the reason', async (_name, reason) => {
    const clock = new FakeClock()
    const server = memoryLockServer({ clock })
    const locks = createLocks(new FaultyStore(new FaultyNetwork(server, clock, new Map()), 'a'), { clock })
    const giving = new AbortController()
    const acquiring = locks.acquire('k', { signal: giving.signal })
    const outcome = acquiring.catch((error: unknown) => error)
    await clock.advance(3)
    expect(server.inspect('k')?.holders).toHaveLength(1)
    giving.abort(reason)
    expect(await outcome).toBe(reason)
    await clock.advance(10)
    expect(server.inspect('k')).toBeUndefined()
  })
})
