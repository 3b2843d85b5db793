// oxlint-disable no-restricted-imports -- inside of the memory adapter: its bare store
import { createLocks, LockError } from 'concordat/locks'
import { memoryLockServer, memoryLocks } from 'concordat/memory'
import { expect, it, onTestFinished } from 'vitest'
import { MemoryLockStore } from '../../locks/memory/store.ts'

it.each([
  ['not_done', 'lost'],
  ['unknown', 'unconfirmed'],
] as const)(
  'a release whose first attempt was %s, and whose second finds that the lock is not ours, is %s',
  async (first, outcome) => {
    const server = memoryLockServer()
    const operator = memoryLocks({ server })
    const store = new MemoryLockStore(server)
    const release = store.release.bind(store)
    let tries = 0
    store.release = async (...args) => {
      if (++tries === 1)
        throw new LockError('locks.store_unavailable', {
          store: 'memory',
          outcome: first,
          detail: 'no answer on purpose',
        })
      return release(...args)
    }
    const locks = createLocks(store, {})
    onTestFinished(() => Promise.all([locks.close(), operator.close()]).then(() => {}))
    const lease = await locks.acquire('k', { ttlMs: 30_000 })
    await operator.forceRelease('k', { by: 'ann', reason: 'gone' })
    expect(await lease.release()).toBe(outcome)
    expect(tries).toBe(2)
  },
)
