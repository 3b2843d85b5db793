/** Invariants of a membership: the events of one episode's watchers, each by itself and all together. */
import type { Event } from '../harness/events.ts'
import { tell } from '../harness/verdicts.ts'
import type { Remains } from '../store/arena.ts'
import type { ElectionFault } from './faults.ts'
import type { ElectionInvariant } from './invariants.ts'

type On = (invariant: ElectionInvariant) => (evidence: string) => void

/** A transition as one watcher heard it; `view` and `resync` bring all members instead of one. */
interface Heard {
  readonly event: string
  readonly version: number
  readonly instance?: string
  readonly generation?: number
  readonly reason?: string
  readonly members?: ReadonlyArray<{ readonly instance: string; readonly generation: number; readonly status: string }>
}

export function judgeMembers({ fault, events }: Remains<ElectionFault>, on: On): void {
  const watchers = Map.groupBy(
    events.filter(({ op }) => op === 'member'),
    ({ process }) => process.split('.', 1)[0] as string,
  )
  const heard = new Map([...watchers].map(([watcher, own]) => [watcher, own as unknown as (Event & Heard)[]]))
  const inOrder = on('members in order')
  for (const [watcher, own] of heard) judgeOrder(watcher, own, inOrder)
  judgeDeaths(events, heard, on('the dead are told'))
  if (fault.outage) {
    const outage = on('an outage kills nobody')
    for (const event of [...heard.values()].flat()) {
      if (event.event === 'dead') outage(`${tell(event)}: ${event.instance} (${event.generation}) ${event.reason}`)
    }
  }
  if (!fault.losesData) judgeAgreement(heard, on('members agree'))
}

const BEFORE: Readonly<Record<string, readonly string[]>> = {
  joined: ['nothing'],
  updated: ['alive', 'suspect'],
  suspect: ['alive'],
  recovered: ['suspect'],
  left: ['alive', 'suspect'],
  dead: ['alive', 'suspect'],
}
const AFTER: Readonly<Record<string, string>> = {
  joined: 'alive',
  suspect: 'suspect',
  recovered: 'alive',
  left: 'over',
  dead: 'over',
}

function judgeOrder(watcher: string, own: readonly (Event & Heard)[], violated: (evidence: string) => void): void {
  let version = 0
  let states = new Map<string, string>()
  for (const event of own) {
    if (event.members !== undefined) {
      states = new Map(event.members.map(({ instance, generation, status }) => [`${instance}/${generation}`, status]))
      version = event.version
      continue
    }
    const member = `${event.instance}/${event.generation}`
    const before = states.get(member) ?? 'nothing'
    if (event.version <= version) violated(`${watcher} heard version ${event.version} after ${version}: ${event.event}`)
    if (BEFORE[event.event]?.includes(before) !== true)
      violated(`${watcher}: ${member} was ${before}, then ${event.event}`)
    states.set(member, AFTER[event.event] ?? before)
    version = event.version
  }
}

/**
 * Checks that one version is one transition for all watchers, and that no watcher misses one between its first and its
 * last.
 */
function judgeAgreement(
  heard: ReadonlyMap<string, readonly (Event & Heard)[]>,
  violated: (evidence: string) => void,
): void {
  const byVersion = new Map<number, string>()
  for (const [watcher, own] of heard) {
    for (const { event, version, instance, generation, members } of own) {
      if (members !== undefined) continue
      const what = `${event} ${instance}/${generation}`
      const known = byVersion.get(version)
      if (known !== undefined && known !== what) violated(`version ${version} is ${known}, but ${what} for ${watcher}`)
      byVersion.set(version, what)
    }
  }
  const all = [...byVersion.keys()].sort((a, b) => a - b)
  for (const [watcher, own] of heard) {
    const snapshots = own.filter(({ members }) => members !== undefined)
    const versions = new Set(own.map(({ version }) => version))
    const last = own.at(-1)?.version ?? 0
    for (const version of all) {
      // Versions that a snapshot covers were not missed.
      const covered = snapshots.some((snapshot) => version <= snapshot.version)
      if (!covered && version <= last && !versions.has(version)) {
        violated(`${watcher} missed version ${version}: ${byVersion.get(version)}`)
      }
    }
  }
}

function judgeDeaths(
  events: readonly Event[],
  heard: ReadonlyMap<string, readonly (Event & Heard)[]>,
  violated: (evidence: string) => void,
): void {
  const ended = events.filter(({ op }) => op === 'killed' || op === 'terminated')
  const gone = new Set(ended.map(({ text }) => text))
  for (const { op, text: victim, at } of ended) {
    const expected = op === 'killed' ? 'dead' : 'left'
    for (const [watcher, own] of heard) {
      if (gone.has(watcher)) continue
      const told = own.some((event) => event.at >= at && event.event === expected && event.instance === victim)
      if (!told) violated(`${watcher} never heard that ${victim} is ${expected}`)
    }
  }
}
