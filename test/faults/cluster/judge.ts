import type { Verdicts } from '../harness/verdicts.ts'
import type { ClusterInvariant } from './invariants.ts'
import type { Fenced, Parcel, Tables } from './tables.ts'

/** Facts recorded about a run so far. */
export interface Known extends Tables {
  /** Messages and writes whose commit was confirmed to the sender or holder. */
  readonly accepted: {
    readonly parcels: readonly Parcel[]
    readonly writes: readonly string[]
  }
  /** Beginnings of keys that went from one partition to another. */
  readonly moved: readonly string[]
  /** Processes and nodes that did not come back. */
  readonly absent: readonly string[]
  readonly failures: readonly string[]
}

type Say = (evidence: string) => void

export function judgeMessages(known: Known, verdicts: Verdicts): void {
  const against = (invariant: ClusterInvariant): Say => verdicts.judge(invariant)
  const sent = new Set(known.sent.map(nameOf))
  const handled = new Set(known.handled.map(nameOf))
  const lost = against('what was accepted is there')
  for (const parcel of known.accepted.parcels) {
    if (!sent.has(nameOf(parcel))) lost(`the commit of ${nameOf(parcel)} was confirmed, and it is not in the database`)
  }
  const unhandled = against('nothing is lost')
  for (const name of sent) if (!handled.has(name)) unhandled(`${name} was committed and never handled`)
  const stray = against('nothing from nowhere')
  for (const name of handled) if (!sent.has(name)) stray(`${name} was handled, and no committed transaction holds it`)
  judgeOrder(known, against('no effect twice'), against('in order'))
}

function judgeOrder({ handled, moved }: Pick<Known, 'handled' | 'moved'>, twice: Say, order: Say): void {
  const seen = new Set<string>()
  const next = new Map<string, number>()
  for (const parcel of handled) {
    const name = nameOf(parcel)
    if (seen.has(name)) {
      twice(`${name} was handled again`)
      continue
    }
    seen.add(name)
    const expected = next.get(parcel.key) ?? 0
    const hasMoved = moved.some((prefix) => parcel.key.startsWith(prefix))
    if (parcel.n !== expected && !hasMoved) order(`${name} was handled when ${parcel.key}/${expected} was next`)
    next.set(parcel.key, Math.max(expected, parcel.n + 1))
  }
}

export function judgeFence(known: Known, verdicts: Verdicts): void {
  const against = (invariant: ClusterInvariant): Say => verdicts.judge(invariant)
  const there = new Set(known.fenced.map(({ write }) => write))
  const lost = against('what was accepted is there')
  for (const write of known.accepted.writes) if (!there.has(write)) lost(`${write} was confirmed, and it is not there`)
  const stale = against('no stale write')
  const last = new Map<string, Fenced>()
  for (const line of known.fenced) {
    const before = last.get(line.resource)
    if (before !== undefined && BigInt(line.token) < BigInt(before.token)) {
      stale(
        `${line.resource}: ${line.write} with token ${line.token} came after ${before.write} with token ${before.token}`,
      )
    }
    last.set(line.resource, line)
  }
}

export function judgeProcesses({ absent, failures }: Pick<Known, 'absent' | 'failures'>, verdicts: Verdicts): void {
  const back = verdicts.judge('all come back')
  for (const line of absent) back(line)
  const fails = verdicts.judge('no process fails')
  for (const line of failures) fails(line)
}

function nameOf({ key, n }: Parcel): string {
  return `${key}/${n}`
}
