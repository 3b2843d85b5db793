import type { Locks } from 'concordat/locks'
import type { LocksOptions } from '../support/inside/locks.ts'
import { until } from '../support/until.ts'

/** What a store may declare missing, see `LockFeatures` and `LockStore.operator`. */
export type LocksFeature = 'fifo' | 'shared' | 'lockDelay' | 'operator'

/** Objects of a case; contenders are closed after it. */
export interface LocksContext {
  readonly contender: (options?: LocksOptions) => Locks
  readonly has: (feature: LocksFeature) => boolean
}

/** Resolves when the store has `count` waiters for `key`. */
export function inLine(locks: Locks, key: string, count: number): Promise<void> {
  const waiting = async (): Promise<number> => (await locks.inspect(key))?.waiters.length ?? 0
  return until(`${count} wait for ${key}`, async () => (await waiting()) === count)
}
