import { LockError } from '../errors.ts'

/**
 * The part of `redlock` 5.0.0-beta.2 that is used. Its own types are not accessible: its `exports` do not include them.
 *
 * It sends one question to all clients at once, counts a reply of 1 as a vote for and all others as a vote against, and settles
 * when one side has a majority.
 */
export interface Redlock {
  release(lock: RedlockLock): Promise<unknown>
}

/** The part of a lock that `release` reads. */
export interface RedlockLock {
  /** Passed unchanged to each client. */
  readonly resources: readonly unknown[]
  readonly value: string
  expiration: number
}

/** A Redis client in redlock's sense. */
export interface RedlockVoter {
  evalsha(hash: string, keyCount: number, keysAndArguments: readonly unknown[]): Promise<number>
  eval(script: string, keyCount: number, keysAndArguments: readonly unknown[]): Promise<number>
}

export type RedlockClass = new (voters: Iterable<RedlockVoter>, settings: Readonly<Record<string, number>>) => Redlock

/** Loaded when first needed: an optional peer dependency. @throws `locks.store_refused` if it is not installed */
export async function loadRedlock(): Promise<RedlockClass> {
  try {
    // Not a literal type; otherwise the compiler would look for the missing types.
    const loaded = (await import('redlock' as string)) as { readonly default: RedlockClass }
    return loaded.default
  } catch (cause) {
    throw new LockError(
      'locks.store_refused',
      { store: 'redlock' },
      new Error('it needs: npm install redlock@5.0.0-beta.2', { cause }),
    )
  }
}
