import type { LockFault } from './fault.ts'
import { clockBack, clockForward, failover, flushed, redisKilledForgets } from './faults-loss.ts'
import { modes } from './faults-modes.ts'
import { connectionsCut, lateReply, partitions, torn } from './faults-network.ts'
import { calm, killHolder, killWaiter, stallHolder, stopHolder } from './faults-process.ts'
import {
  clientsKilled,
  redisFrozen,
  redisKilledGrace,
  redisKilledKeeps,
  redisPaused,
  scriptsFlushed,
  slow,
} from './faults-redis.ts'

/** Faults in the order of the tables. */
export const LOCK_FAULTS: readonly LockFault[] = [
  calm,
  killHolder,
  killWaiter,
  stopHolder,
  stallHolder,
  redisKilledKeeps,
  redisKilledGrace,
  redisKilledForgets,
  redisFrozen,
  redisPaused,
  failover,
  ...partitions,
  connectionsCut,
  torn,
  slow,
  lateReply,
  scriptsFlushed,
  clientsKilled,
  flushed,
  clockForward,
  clockBack,
  ...modes,
]
