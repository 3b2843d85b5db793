/** Results of a run: read from its folder and counted by its databases. */
import type { RunOptions } from '../command-line.ts'
import { KEPT, type Kept } from '../run/conductor.ts'
import type { PlayedFault, RunFolder } from '../run/folder.ts'
import type { Counts, Faultless, Judgement } from '../run/judge.ts'
import { kindsOf } from '../run/plan.ts'
import type { Sample } from '../run/samples.ts'
import type { Stall } from '../run/stalls.ts'
import { type Slope, SlopeOf } from './slope.ts'
import { Thinned } from './thinned.ts'

/** Number of plays of one kind of fault. */
export interface FaultLine {
  readonly kind: string
  readonly times: number
  /** Time from its beginning until everything ran again. */
  readonly longestMs: number
  /** Time from then until the next order was done. */
  readonly longestToMoveMs: number
}

export interface MemoryLine {
  readonly name: string
  readonly rss: Slope
  /** Heap of a Node process. */
  readonly heap: Slope | undefined
}

export interface CurvePoint {
  readonly atMs: number
  readonly done: number
  readonly rss: Readonly<Record<string, number>>
}

export interface Report {
  readonly exact: boolean
  /** Whether the run gave up because nothing moved: the report is not final, the run can be resumed. */
  readonly gaveUp: boolean
  readonly options: RunOptions
  readonly elapsedMs: number
  /** Number of starts of the run: 1 unless it was resumed. */
  readonly lives: number
  readonly counts: Counts
  readonly wrong: Readonly<Record<Faultless, number>>
  readonly troubles: readonly string[]
  readonly faults: readonly FaultLine[]
  readonly stalls: readonly Stall[]
  readonly memory: readonly MemoryLine[]
  /** Bytes: most, and at the end. */
  readonly disk: Readonly<Record<string, { readonly most: number; readonly last: number }>>
  readonly curve: readonly CurvePoint[]
}

const CURVE_POINTS = 240

export async function makeReport(folder: RunFolder, { counts, wrong }: Judgement, gaveUp: boolean): Promise<Report> {
  const { options } = folder.file
  const kept = folder.kept<Kept>(KEPT)
  const { faults, troubles } = await readFaults(folder)
  const all = [...(kept?.troubles ?? []), ...troubles]
  const read = await readSamples(folder)
  return {
    exact: !gaveUp && all.length === 0 && Object.values(wrong).every((count) => count === 0),
    gaveUp,
    options,
    elapsedMs: kept?.elapsedMs ?? 0,
    lives: kept?.lives ?? 1,
    counts,
    wrong,
    troubles: all,
    faults,
    stalls: kept?.stalls ?? [],
    ...read,
  }
}

async function readFaults(folder: RunFolder): Promise<Pick<Report, 'faults' | 'troubles'>> {
  const { transport, faults: wanted } = folder.file.options
  const lines = new Map<string, FaultLine>(
    kindsOf(transport).map(({ name }) => [name, { kind: name, times: 0, longestMs: 0, longestToMoveMs: 0 }]),
  )
  const troubles: string[] = []
  let played = 0
  for await (const { kind, victim, tookMs, movedMs, happened, number } of folder.read<PlayedFault>('faults')) {
    played += 1
    if (!happened) troubles.push(`fault ${number}, ${kind} of ${victim}, did not happen`)
    const before = lines.get(kind) ?? { kind, times: 0, longestMs: 0, longestToMoveMs: 0 }
    lines.set(kind, {
      kind,
      times: before.times + 1,
      longestMs: Math.max(before.longestMs, tookMs),
      longestToMoveMs: Math.max(before.longestToMoveMs, movedMs),
    })
  }
  if (played < wanted) troubles.push(`${played} of ${wanted} faults were played`)
  return { faults: [...lines.values()], troubles }
}

/** Line by line: of a long run there are many. */
async function readSamples(folder: RunFolder): Promise<Pick<Report, 'memory' | 'disk' | 'curve'>> {
  const rss = new Map<string, SlopeOf>()
  const heap = new Map<string, SlopeOf>()
  const disk: Record<string, { most: number; last: number }> = {}
  const curve = new Thinned<CurvePoint>(CURVE_POINTS)
  for await (const sample of folder.read<Sample>('samples')) {
    const { atMs, done, processes } = sample
    for (const { name, pid, rss: bytes, heapUsed } of processes) {
      slopeOf(rss, name).add(atMs, pid, bytes)
      if (heapUsed !== undefined) slopeOf(heap, name).add(atMs, pid, heapUsed)
    }
    for (const [name, bytes] of Object.entries(sample.disk ?? {})) {
      disk[name] = { most: Math.max(disk[name]?.most ?? 0, bytes), last: bytes }
    }
    curve.add({ atMs, done, rss: Object.fromEntries(processes.map(({ name, rss: bytes }) => [name, bytes])) })
  }
  const memory = [...rss].map(([name, slope]) => ({ name, rss: slope.result(), heap: heap.get(name)?.result() }))
  return { memory: memory.toSorted((a, b) => a.name.localeCompare(b.name)), disk, curve: curve.values }
}

function slopeOf(slopes: Map<string, SlopeOf>, name: string): SlopeOf {
  const slope = slopes.get(name) ?? new SlopeOf()
  slopes.set(name, slope)
  return slope
}
