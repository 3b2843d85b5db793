/**
 * Locks inside one process: the same leases, queue, tokens and errors, with nothing to install. Separate `memoryLocks`
 * that share one `memoryLockServer` contend with each other like separate processes would.
 */

import type { Locks } from '../lock.ts'
import { createLocks } from '../locks.ts'
import { type LocksOptions, resolveLocks } from '../options.ts'
import { MemoryLockServer } from './server.ts'
import { MemoryLockStore } from './store.ts'

export interface MemoryLocksOptions extends LocksOptions {
  /** Shared by those who contend. @default a new one: nobody else can contend */
  readonly server?: MemoryLockServer | undefined
}

export type { MemoryLockServer } from './server.ts'

/** A place for several `memoryLocks` to meet. Holds nothing but memory; needs no close. */
export function memoryLockServer(options: Pick<LocksOptions, 'clock'> = {}): MemoryLockServer {
  return new MemoryLockServer(resolveLocks(options).clock)
}

export function memoryLocks(options: MemoryLocksOptions = {}): Locks {
  return createLocks(new MemoryLockStore(options.server ?? memoryLockServer(options)), options)
}
