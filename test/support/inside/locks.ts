/** Names of `locks/` that only tests write: no subpath exports them. */
// oxlint-disable no-restricted-imports -- users need not write these names, tests do
export type { LeaseToken } from '../../../locks/headers.ts'
export type { AcquireOptions, ForcedRelease, LeaseOptions, LockInfo, LockMode } from '../../../locks/lock.ts'
export type { LocksOptions } from '../../../locks/options.ts'
export type { PostgresLocksOptions } from '../../../locks/postgres/postgres-locks.ts'
export type { RedisLocksOptions } from '../../../locks/redis/redis-locks.ts'
export type { RedlockLocksOptions } from '../../../locks/redlock/redlock-locks.ts'
export type { ClaimTerms } from '../../../locks/store.ts'
