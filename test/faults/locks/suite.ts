import type { Mistake, Suite } from '../harness/suite.ts'
import { type Company, StoreArena } from '../store/arena.ts'
import { postgresDriver, redisDriver } from '../store/drivers.ts'
import { lackFor } from '../store/fault.ts'
import { COMES_WITHIN_MS } from '../store/sizes.ts'
import { LONG_HEARTBEAT_MS, type LockFault } from './fault.ts'
import { LOCK_FAULTS } from './faults.ts'
import { POSTGRES_LOCK_FAULTS } from './faults-postgres.ts'
import { LOCK_INVARIANTS } from './invariants.ts'
import { judge } from './judge.ts'
import { SERVED_WITHIN_MS } from './judge-service.ts'
import type { LockSettings } from './settings.ts'

const RELEASE_WITHOUT_CHECK: Mistake = {
  what: 'release deletes the lock without comparing the value',
  faults: ['stop-holder'],
  breaks: 'one believes',
}

const MISTAKES: Readonly<Record<string, Mistake>> = {
  'release-without-check': RELEASE_WITHOUT_CHECK,
  'late-deadline': {
    what: 'the validity counts from the end of the winning request',
    faults: ['late-reply-then-cut'],
    breaks: 'one believes',
  },
  'no-fence': {
    what: 'the sink does not look at the token',
    faults: ['stop-holder'],
    breaks: 'accepted in order',
  },
}

const onPostgres: Suite = {
  name: 'locks-postgres',
  faults: POSTGRES_LOCK_FAULTS,
  invariants: LOCK_INVARIANTS,
  mistakes: {
    ...MISTAKES,
    // The guarded sink refuses a holder whose lock was deleted before it can believe for long.
    'release-without-check': { ...RELEASE_WITHOUT_CHECK, breaks: 'linearizable' },
    'guard-before': {
      what: 'a transaction looks at the lease when it begins, and not when it commits',
      faults: ['stop-in-transaction'],
      breaks: 'accepted in order',
    },
  },
  lack: (faults) => lackFor(faults, POSTGRES_LOCK_FAULTS),
  open: (setting) => StoreArena.open({ ...company, faults: POSTGRES_LOCK_FAULTS, store: postgresDriver }, setting),
}

export const locksSuite: Suite = {
  name: 'locks',
  faults: LOCK_FAULTS,
  invariants: LOCK_INVARIANTS,
  mistakes: MISTAKES,
  stores: { redis: () => locksSuite, postgres: () => onPostgres },
  lack: (faults) => lackFor(faults, LOCK_FAULTS),
  open: (setting) => StoreArena.open(company, setting),
}

const company: Company<LockFault> = {
  faults: LOCK_FAULTS,
  worker: new URL('./worker.ts', import.meta.url),
  holders: 'on request',
  store: redisDriver,
  keyOf: (episode) => `e${episode}`,
  settingsOf: ({ mode, asks, heartbeatMs, restartGraceMs, thinksMs }): LockSettings => ({
    mode: mode ?? 'exclusive',
    asks: asks ?? 'sometimes',
    heartbeatMs: heartbeatMs ?? LONG_HEARTBEAT_MS,
    restartGraceMs: restartGraceMs ?? 0,
    thinksMs: thinksMs ?? 3,
  }),
  async begun(stage) {
    if (!(await stage.allGranted(0, COMES_WITHIN_MS)))
      throw new Error('not everybody was granted the lock before the fault')
  },
  async recovered(stage, healedAt) {
    if (await stage.allGranted(healedAt, SERVED_WITHIN_MS)) return
    for (const worker of stage.workers.filter((each) => each.isAlive && !stage.hasGrantSince(each, healedAt))) {
      stage.note('not served', `${worker.name} was granted nothing within ${SERVED_WITHIN_MS} ms`)
    }
  },
  judge,
}
