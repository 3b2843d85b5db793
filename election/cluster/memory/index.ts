/**
 * Cluster state inside one process: the same members, states, logs and errors as on Redis, with nothing to install.
 * Several `memoryStateStore` that share one `memoryStateServer` see each other like separate processes would.
 *
 * @module
 */

export { memoryStateServer, memoryStateStore } from './memory-state-store.ts'
export type { MemoryStateServer } from './server.ts'
