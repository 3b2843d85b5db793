/** Invariants of the shared state: the callers' answers, and the watchers' events. */
import { type VersionedAction, versionedRegister } from '../../support/history/models.ts'
import { checkEach, type Operation } from '../../support/history/wgl.ts'
import { type Event, operationsOf } from '../harness/events.ts'
import { tellVerdict } from '../harness/verdicts.ts'

type Keyed = VersionedAction<number> & { readonly key: string }

export function judgeRegister(events: readonly Event[], violated: (evidence: string) => void): void {
  const operations = operationsOf(events, 'state').flatMap(({ begin, end }): Operation<Keyed>[] => {
    // Operations that certainly did not happen are left out, and reads without an answer too.
    const unknown = end === undefined || end.type === 'info'
    if (end?.type === 'fail' || (unknown && begin['does'] === 'read')) return []
    const { key = '' } = begin
    const times = {
      process: begin.process,
      invokedAt: begin.at,
      returnedAt: unknown ? Number.POSITIVE_INFINITY : end.at,
    }
    const value = (end ?? begin)['value'] as number | undefined
    const version = end?.['version'] as number | undefined
    if (begin['does'] === 'read') return [{ ...times, action: { key, do: 'read', value, version } }]
    // A delete that found nothing has read that.
    if (end?.outcome === 'nothing there') return [{ ...times, action: { key, do: 'read', value: undefined } }]
    const outcome = unknown ? 'unknown' : end.outcome === 'conflict' ? 'conflict' : (version ?? 0)
    const expected = begin['expected'] as number | undefined
    return [{ ...times, action: { key, do: 'write', value, expected, outcome } }]
  })
  const failed = checkEach(versionedRegister<number>(), operations, (action) => (action as Keyed).key)
  if (failed !== undefined) for (const line of tellVerdict(failed.verdict)) violated(`key ${failed.key}: ${line}`)
}

interface Heard {
  readonly event: 'snapshot' | 'change'
  readonly version: number
  readonly changes?: unknown
}

/**
 * Checks that changes are ordered and come once, that one version is one change for all watchers, and that only
 * snapshots replace missing ones.
 */
export function judgeWatches(events: readonly Event[], violated: (evidence: string) => void): void {
  const heard = events.filter(({ op }) => op === 'state heard') as unknown as readonly (Event & Heard)[]
  const byWatcher = Map.groupBy(heard, ({ process }) => process.split('.', 1)[0])
  const byVersion = new Map<number, string>()
  for (const [watcher, own] of byWatcher) {
    let last = 0
    for (const { event, version, changes } of own) {
      if (event === 'change') {
        const what = JSON.stringify(changes)
        const known = byVersion.get(version)
        if (version <= last) violated(`${watcher} heard version ${version} after ${last}`)
        if (known !== undefined && known !== what)
          violated(`version ${version} is ${known}, but ${what} for ${watcher}`)
        byVersion.set(version, what)
      }
      last = version
    }
  }
  for (const [watcher, own] of byWatcher) {
    const versions = new Set(own.map(({ version }) => version))
    const snapshot = own.findLast(({ event }) => event === 'snapshot')?.version ?? Number.POSITIVE_INFINITY
    const last = own.at(-1)?.version ?? 0
    for (const [version, what] of byVersion) {
      if (version > snapshot && version <= last && !versions.has(version))
        violated(`${watcher} missed ${version}: ${what}`)
    }
  }
}
