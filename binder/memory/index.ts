/**
 * The transport in the process: the reference for what every transport means, the embedded default and the fast tests.
 * Same partitions, groups, prefetch and redelivery as a broker; nothing survives the process.
 *
 * Several binders talk to each other when they share one broker: `const broker = memoryBroker()`, then
 * `memoryTransport({ broker })` for each.
 *
 * @module
 */
export type { MemoryBroker } from './broker.ts'
export { memoryBroker, memoryTransport } from './transport.ts'
