/**
 * Servers for integration tests. Where they come from, in this order: an address in the environment (`POSTGRES_URL`,
 * `REDIS_URL`, `RABBITMQ_URL`, `KAFKA_BROKERS`, `MARIADB_URL`), a private server from local binaries, Docker, else a skip that names
 * what is missing. Outside vitest (benchmarks, scripts) import `start.ts`.
 */
export { type DescribeWithOptions, describeWith, serverUrl } from './describe-with.ts'
export { type ServerKind, ServerUnavailable } from './kinds.ts'
export { type Link, openLink } from './link.ts'
export { LossyDisk, lossyDiskLack } from './lossy-disk.ts'
export { KEPT_LOGS, type PrivateServer, type StartOptions } from './private-server.ts'
export {
  type ClusterRedis,
  portOf,
  type ReplicatedRedis,
  type SentinelRedis,
  startCluster,
  startReplicated,
  startSentinels,
  withRedis,
} from './redis-groups.ts'
export { type ServerClock, serverClock, serverClockLack } from './server-clock.ts'
export { type ServerDisk, serverDisk } from './server-disk.ts'
export { startServer } from './start.ts'
