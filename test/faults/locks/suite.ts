import type { Suite } from '../harness/suite.ts'
import { type Company, RedisArena } from '../redis/arena.ts'
import { lackFor } from '../redis/fault.ts'
import { LONG_HEARTBEAT_MS, type LockFault } from './fault.ts'
import { LOCK_FAULTS } from './faults.ts'
import { LOCK_INVARIANTS } from './invariants.ts'
import { judge } from './judge.ts'
import { SERVED_WITHIN_MS } from './judge-service.ts'
import type { LockSettings } from './settings.ts'

export const locksSuite: Suite = {
  name: 'locks',
  faults: LOCK_FAULTS,
  invariants: LOCK_INVARIANTS,
  mistakes: {
    'release-without-check': {
      what: 'release deletes the lock without comparing the value',
      faults: ['stop-holder'],
      breaks: 'one believes',
    },
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
  },
  lack: (faults) => lackFor(faults, LOCK_FAULTS),
  open: (setting) => RedisArena.open(company, setting),
}

const company: Company<LockFault> = {
  faults: LOCK_FAULTS,
  worker: new URL('./worker.ts', import.meta.url),
  holders: 'on request',
  keyOf: (episode) => `e${episode}`,
  settingsOf: ({ mode, asks, heartbeatMs, restartGraceMs }): LockSettings => ({
    mode: mode ?? 'exclusive',
    asks: asks ?? 'sometimes',
    heartbeatMs: heartbeatMs ?? LONG_HEARTBEAT_MS,
    restartGraceMs: restartGraceMs ?? 0,
  }),
  async begun(stage) {
    if (!(await stage.allGranted(0, 10_000))) throw new Error('not everybody was granted the lock before the fault')
  },
  async recovered(stage, healedAt) {
    if (await stage.allGranted(healedAt, SERVED_WITHIN_MS)) return
    for (const worker of stage.workers.filter((each) => each.isAlive && !stage.hasGrantSince(each, healedAt))) {
      stage.note('not served', `${worker.name} was granted nothing within ${SERVED_WITHIN_MS} ms`)
    }
  },
  judge,
}
