/**
 * Messages, locks, one-time tokens and cluster state inside one process, with nothing to install: the embedded default and the fast
 * tests. Same partitions, groups, leases, queues, tokens and errors as on a server; nothing survives the process.
 *
 * Several binders talk to each other when they share one broker: `const broker = memoryBroker()`, then `memoryTransport({ broker })`
 * for each. In the same way, several `memoryLocks` share a `memoryLockServer`, and several `memoryStateStore` a `memoryStateServer`:
 * they meet each other like separate processes would.
 *
 * @module
 */
export type { MemoryBroker } from '../binder/memory/broker.ts'
export { memoryBroker, memoryTransport } from '../binder/memory/transport.ts'
export { memoryStateServer, memoryStateStore } from '../election/cluster/memory/memory-state-store.ts'
export type { MemoryStateServer } from '../election/cluster/memory/server.ts'
export { memoryLockServer, memoryLocks } from '../locks/memory/memory-locks.ts'
export type { MemoryLockServer } from '../locks/memory/server.ts'
export { memoryTokens } from '../locks/one-time-tokens/memory/memory-tokens.ts'
