/**
 * Locks inside one process: the same leases, queue, tokens and errors, with nothing to install. Separate `memoryLocks`
 * that share one `memoryLockServer` contend with each other like separate processes would.
 *
 * @module
 */

export { memoryLockServer, memoryLocks } from './memory-locks.ts'
export type { MemoryLockServer } from './server.ts'
