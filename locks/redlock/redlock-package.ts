import { LockStoreRefused } from '../errors.ts'

/**
 * The part of `redlock` 5.0.0-beta.2 that is used. Its own types cannot be had: its `exports` do not name them.
 *
 * What it does with them: sends one question to all clients at once, counts a reply of 1 as a vote for and all else as a
 * vote against, and settles when one side has a majority. After an `acquire` that failed it sends the release to all.
 */
export interface Redlock {
  readonly scripts: Readonly<Record<'acquireScript' | 'extendScript' | 'releaseScript', { readonly hash: string }>>
  acquire(resources: string[], durationMs: number): Promise<unknown>
  extend(lock: RedlockLock, durationMs: number): Promise<unknown>
  release(lock: RedlockLock): Promise<unknown>
}

/** What `extend` and `release` read of a lock. */
export interface RedlockLock {
  readonly resources: string[]
  readonly value: string
  expiration: number
}

/** What it takes for a Redis client. */
export interface RedlockVoter {
  evalsha(hash: string, keyCount: number, keysAndArguments: readonly unknown[]): Promise<number>
  eval(script: string, keyCount: number, keysAndArguments: readonly unknown[]): Promise<number>
}

export type RedlockClass = new (
  voters: Iterable<RedlockVoter>,
  settings: Readonly<Record<string, number>>,
  scripts: Readonly<Record<string, () => string>>,
) => Redlock

/** Loaded when first needed: an optional peer dependency. @throws LockStoreRefused when it is not installed */
export async function loadRedlock(): Promise<RedlockClass> {
  try {
    // Not a literal type, or the compiler would look for the types that are not there.
    const loaded = (await import('redlock' as string)) as { readonly default: RedlockClass }
    return loaded.default
  } catch (cause) {
    throw new LockStoreRefused('redlock', new Error('it needs: npm install redlock@5.0.0-beta.2', { cause }))
  }
}
