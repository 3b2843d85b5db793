import type { Mistake, Suite } from '../harness/suite.ts'
import { type Company, StoreArena } from '../store/arena.ts'
import { postgresDriver, redisDriver } from '../store/drivers.ts'
import { lackFor } from '../store/fault.ts'
import { GRANT_WITHIN_MS } from '../store/sizes.ts'
import type { Stage } from '../store/stage.ts'
import { ELECTION_FAULTS, type ElectionFault, LONG_HEARTBEAT_MS } from './faults.ts'
import { POSTGRES_ELECTION_FAULTS } from './faults-postgres.ts'
import { ELECTION_INVARIANTS } from './invariants.ts'
import { judge } from './judge.ts'
import { DEAD_AFTER_MS, type ElectionSettings } from './settings.ts'

const MISTAKES: Readonly<Record<string, Mistake>> = {
  'late-revoke': {
    what: 'a term is revoked, and believed in, after the server gave the lease away',
    faults: ['partition-both'],
    breaks: 'one leads',
  },
  'no-fence': {
    what: 'the sinks do not look at the term',
    faults: ['stop-leader'],
    breaks: 'accepted in order',
  },
}

const onPostgres: Suite = {
  name: 'election-postgres',
  faults: POSTGRES_ELECTION_FAULTS,
  invariants: ELECTION_INVARIANTS,
  mistakes: MISTAKES,
  lack: (faults) => lackFor(faults, POSTGRES_ELECTION_FAULTS),
  open: (setting) => StoreArena.open({ ...company, faults: POSTGRES_ELECTION_FAULTS, store: postgresDriver }, setting),
}

export const electionSuite: Suite = {
  name: 'election',
  faults: ELECTION_FAULTS,
  invariants: ELECTION_INVARIANTS,
  mistakes: MISTAKES,
  stores: { redis: () => electionSuite, postgres: () => onPostgres },
  lack: (faults) => lackFor(faults, ELECTION_FAULTS),
  open: (setting) => StoreArena.open(company, setting),
}

const company: Company<ElectionFault> = {
  faults: ELECTION_FAULTS,
  worker: new URL('./worker.ts', import.meta.url),
  holders: 'always',
  store: redisDriver,
  keyOf: (episode) => `election/e${episode}`,
  settingsOf: ({ asks, heartbeatMs }): ElectionSettings => ({
    asks: asks ?? 'sometimes',
    heartbeatMs: heartbeatMs ?? LONG_HEARTBEAT_MS,
  }),
  async begun(stage) {
    const leader = await stage.lingerer()
    await stage.untilWaiting(stage.workers.length - 1, stage.others(leader))
    await stage.until('all know all members', () => stage.workers.every((worker) => membersSeen(stage, worker.name)))
  },
  async recovered(stage, healedAt) {
    const writes = (): boolean =>
      stage.workers.some(({ events }) => {
        return events.some(({ at, op, type }) => at >= healedAt && op === 'write' && type === 'ok')
      })
    // The judge decides about lateness; this only waits, a little longer.
    await stage.until('somebody leads', writes, GRANT_WITHIN_MS + 3_000).catch(() => {})
    await stage.until('deaths are told', () => deathsTold(stage), DEAD_AFTER_MS + 3_000).catch(() => {})
    await stage.handOver()
  },
  judge,
}

/** Joined, or in the first view. */
function membersSeen(stage: Stage, watcher: string): boolean {
  const seen = new Set<unknown>()
  for (const event of stage.workers.find(({ name }) => name === watcher)?.events ?? []) {
    if (event.op !== 'member') continue
    if (event['event'] === 'joined') seen.add(event['instance'])
    for (const member of (event['members'] ?? []) as { instance: string }[]) seen.add(member.instance)
  }
  return stage.workers.every(({ name }) => seen.has(name))
}

function deathsTold(stage: Stage): boolean {
  const dead = stage.workers.filter(({ isAlive }) => !isAlive)
  return stage.workers.every((worker) => {
    return !worker.isAlive || dead.every(({ name }) => worker.events.some((event) => isEndOf(event, name)))
  })
}

function isEndOf(event: { readonly op: string; readonly [more: string]: unknown }, instance: string): boolean {
  return (
    event.op === 'member' && event['instance'] === instance && (event['event'] === 'dead' || event['event'] === 'left')
  )
}
