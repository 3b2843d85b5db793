/**
 * The cases of `limits.test.ts` for values that reach Redis: each limit on the memory store and on a server, with the
 * same answer.
 */
import { randomUUID } from 'node:crypto'
import { createMembership, createSharedState } from 'concordat/cluster'
import type { ClusterStore } from 'concordat/extension'
import type { Locks } from 'concordat/locks'
import { memoryLocks, memoryStateServer, memoryStateStore } from 'concordat/memory'
import { redisLocks, redisStateStore } from 'concordat/redis'
import { expect, onTestFinished, test } from 'vitest'
import { describeWith, serverUrl } from '../support/servers/index.ts'

const HUGE = Number.MAX_SAFE_INTEGER
const url = (): string => serverUrl('redis') as string
const closing = <T extends { close(): Promise<void> }>(part: T): T => {
  onTestFinished(() => part.close())
  return part
}

const LOCKS: Readonly<Record<string, () => Locks>> = {
  memory: () => closing(memoryLocks()),
  redis: () => closing(redisLocks({ url: url(), prefix: `limits-${randomUUID()}:` })),
}
const STORES: Readonly<Record<string, () => ClusterStore>> = {
  memory: () => closing(memoryStateStore({ server: memoryStateServer() })),
  redis: () => closing(redisStateStore({ url: url() })),
}

/** Outcome of the work: `ok`, or the code or class of the error. */
async function said(work: () => Promise<unknown>): Promise<string> {
  try {
    await work()
    return 'ok'
  } catch (error) {
    const { code, name } = error as Error & { code?: string }
    return code ?? name
  }
}

const taken = async (locks: Locks, options: object, key = 'k'): Promise<void> => {
  const lease = await locks.acquire(key, options)
  lease.assertValid()
  if (!(lease.validUntil() > Date.now())) throw new Error('granted, and over at once')
  await lease.release()
}

/** Holds the key with the largest ttl: another holder, exclusive, is refused until its release. */
const excluded = async (locks: Locks, options: object): Promise<void> => {
  const lease = await locks.acquire('k', { ...options, ttlMs: HUGE })
  if ((await locks.tryAcquire('k')) !== undefined) throw new Error('granted to two')
  await lease.release()
  await taken(locks, {})
}

/** Tries again: a busy machine may take longer than so short a lease lasts. A refused option fails at once. */
async function inTime(call: () => Promise<unknown>): Promise<unknown> {
  for (let tries = 1; ; tries++)
    try {
      return await call()
    } catch (error) {
      if (error instanceof RangeError || tries === 20) throw error
    }
}

const OF_LOCKS: ReadonlyArray<readonly [string, (locks: Locks) => Promise<unknown>, string]> = [
  ['ttlMs of 100 ms', (locks) => inTime(() => taken(locks, { ttlMs: 100 })), 'ok'],
  ['ttlMs of 99 ms', (locks) => taken(locks, { ttlMs: 99 }), 'RangeError'],
  ['ttlMs of 2^31 ms', (locks) => taken(locks, { ttlMs: 2 ** 31 }), 'ok'],
  ['ttlMs of a hundred years', (locks) => taken(locks, { ttlMs: 100 * 365 * 86_400_000 }), 'ok'],
  ['the largest ttlMs', (locks) => taken(locks, { ttlMs: HUGE }), 'ok'],
  ['the largest ttlMs of a reader', (locks) => excluded(locks, { mode: 'shared' }), 'ok'],
  ['the largest ttlMs of a permit', (locks) => excluded(locks, { permits: 2 }), 'ok'],
  ['waitMs without end', (locks) => taken(locks, { waitMs: Number.POSITIVE_INFINITY }), 'ok'],
  ['the largest waitMs', (locks) => taken(locks, { waitMs: HUGE }), 'ok'],
  ['waitMs of nothing', (locks) => taken(locks, { waitMs: 0 }), 'ok'],
  ['lockDelayMs of a day', (locks) => taken(locks, { lockDelayMs: 86_400_000 }), 'ok'],
  ['lockDelayMs beyond a day', (locks) => taken(locks, { lockDelayMs: 86_400_001 }), 'RangeError'],
  ['the largest token above', (locks) => taken(locks, { tokenAbove: 2 ** 52 }), 'ok'],
  ['a token above that is too large', (locks) => taken(locks, { tokenAbove: 2 ** 52 + 1 }), 'RangeError'],
  ['a key of 10 000 characters', (locks) => taken(locks, {}, 'k'.repeat(10_000)), 'ok'],
  ['a key without characters', (locks) => taken(locks, {}, ''), 'TypeError'],
  ['half a surrogate pair as a key', (locks) => taken(locks, {}, '\ud800'), 'TypeError'],
  ['a NUL in a key', (locks) => taken(locks, {}, 'a\u0000b'), 'ok'],
  ['one permit', (locks) => taken(locks, { permits: 1 }), 'ok'],
  ['a million permits', (locks) => taken(locks, { permits: 1_000_000 }), 'ok'],
  ['more permits', (locks) => taken(locks, { permits: 1_000_001 }), 'RangeError'],
]

const OF_STORES: ReadonlyArray<readonly [string, (store: ClusterStore) => Promise<unknown>, string]> = [
  [
    'the largest times of a member',
    (store) => joined(store, { heartbeatMs: 1_000, suspectAfterMs: HUGE - 10_000, deadAfterMs: HUGE }),
    'ok',
  ],
  [
    'times of a member in days',
    (store) => joined(store, { heartbeatMs: 86_400_000, suspectAfterMs: 3 * 86_400_000, deadAfterMs: 30 * 86_400_000 }),
    'ok',
  ],
  ['meta of 8 KiB', (store) => joined(store, { meta: { m: 'x'.repeat(8 * 1_024 - 8) } }), 'ok'],
  ['meta beyond 8 KiB', (store) => joined(store, { meta: { m: 'x'.repeat(8 * 1_024) } }), 'cluster.data_too_large'],
  ['a key of 512 bytes', (store) => written(store, {}, 'k'.repeat(512)), 'ok'],
  ['a key beyond 512 bytes', (store) => written(store, {}, 'k'.repeat(513)), 'cluster.data_too_large'],
  ['a value of 64 KiB', (store) => written(store, {}, 'k', 'x'.repeat(64 * 1_024 - 2)), 'ok'],
  ['a value beyond 64 KiB', (store) => written(store, {}, 'k', 'x'.repeat(64 * 1_024 - 1)), 'cluster.data_too_large'],
  ['the largest keepDeletedMs', (store) => written(store, { keepDeletedMs: HUGE }), 'ok'],
  ['no keepDeletedMs', (store) => written(store, { keepDeletedMs: 0 }), 'ok'],
  ['the largest keepChanges', (store) => written(store, { keepChanges: HUGE }), 'ok'],
  ['one change kept', (store) => written(store, { keepChanges: 1 }), 'ok'],
]

async function joined(store: ClusterStore, options: object): Promise<void> {
  const membership = createMembership({ store, cluster: `c-${randomUUID()}`, service: 's', instance: 'i', ...options })
  onTestFinished(() => membership.close())
  await membership.join()
  expect(membership.members()).toHaveLength(1)
  await membership.leave()
}

async function written(store: ClusterStore, options: object, key = 'k', value = 'v'): Promise<void> {
  const state = createSharedState<string>({ store, name: `n-${randomUUID()}`, ...options })
  onTestFinished(() => state.close())
  await state.put(key, value)
  await state.put(key, value)
  await state.delete(key)
  await state.put(key, value)
  expect((await state.get(key))?.value).toBe(value)
}

describeWith(['redis'], 'locks and cluster state at their limits', () => {
  for (const kind of ['memory', 'redis']) {
    test.for(OF_LOCKS)(`${kind}: %s`, async ([, work, expected]) => {
      expect(await said(() => work((LOCKS[kind] as () => Locks)()))).toBe(expected)
    })
    test.for(OF_STORES)(`${kind}: %s`, async ([, work, expected]) => {
      expect(await said(() => work((STORES[kind] as () => ClusterStore)()))).toBe(expected)
    })
  }
})
