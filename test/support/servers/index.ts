/** Servers for tests. Outside vitest (benchmarks, examples) import `start.ts`. */
export { type ServerKind, ServerUnavailable } from './kinds.ts'
export type { PrivateServer, StartOptions } from './private-server.ts'
export { startServer } from './start.ts'
