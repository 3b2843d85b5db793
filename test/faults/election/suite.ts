import type { Suite } from '../harness/suite.ts'
import { type Company, RedisArena } from '../redis/arena.ts'
import { lackFor } from '../redis/fault.ts'
import { GRANT_WITHIN_MS } from '../redis/sizes.ts'
import type { Stage } from '../redis/stage.ts'
import { ELECTION_FAULTS, type ElectionFault, LONG_HEARTBEAT_MS } from './faults.ts'
import { ELECTION_INVARIANTS } from './invariants.ts'
import { judge } from './judge.ts'
import { DEAD_AFTER_MS, type ElectionSettings } from './settings.ts'

export const electionSuite: Suite = {
  name: 'election',
  faults: ELECTION_FAULTS,
  invariants: ELECTION_INVARIANTS,
  mistakes: {
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
  },
  lack: (faults) => lackFor(faults, ELECTION_FAULTS),
  open: (setting) => RedisArena.open(company, setting),
}

const company: Company<ElectionFault> = {
  faults: ELECTION_FAULTS,
  worker: new URL('./worker.ts', import.meta.url),
  holders: 'always',
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
    // The judge says who was too late; here it is only waited for, a little longer.
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
