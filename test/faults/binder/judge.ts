import { type Event, operationsOf, type Recorded } from '../harness/events.ts'
import type { Verdicts } from '../harness/verdicts.ts'
import type { BinderInvariant } from './invariants.ts'
import { judgeReminders, judgeTimes } from './judge-delays.ts'
import { isStep, nameOf, type Step } from './ledger.ts'

export interface Span {
  readonly from: number
  readonly to: number
}

/** All recorded facts about the processes at one broker. */
export interface Known {
  readonly transport: string
  readonly events: readonly Event[]
  /** Spans from the beginning of a fault until everything was quiet again. */
  readonly faults: readonly Span[]
  /** Spans in which a process was, or may have been, cut off from its broker. */
  readonly cutOff: ReadonlyArray<Span & { readonly process: string }>
  /** Time at which each process was killed. */
  readonly killed: ReadonlyMap<string, number>
  /** Processes that did not restart. */
  readonly absent: readonly string[]
  readonly failures: readonly string[]
  /** Positions that went backwards. `undefined`: the broker does not show them. */
  readonly setBack?: readonly string[] | undefined
  /** Entries that are not in the book once. `undefined`: there is no book. */
  readonly book?: readonly string[] | undefined
}

const STAGES = ['work', 'audit'] as const
export type Stage = (typeof STAGES)[number] | 'remind'

/** A handler call. */
export interface Run extends Span {
  readonly stage: Stage
  readonly key: string
  readonly n: number
  readonly message: string
  readonly process: string
  readonly attempt: number
  readonly ok: boolean
}

export function judge(known: Known, verdicts: Verdicts): void {
  const against = (invariant: BinderInvariant): Say => {
    const say = verdicts.judge(invariant)
    return (line) => say(`${known.transport}: ${line}`)
  }
  const sends = operationsOf(known.events, 'send')
  const runs = runsOf(known)
  judgeLosses(sends, runs, against('nothing is lost'))
  judgeOrder(runs, against('in order'))
  judgeOverlaps(known, runs, against('one at a time'))
  judgeRepeats(known, sends, runs, against('repeats at faults'))
  judgeIds(sends, runs, against('same id'))
  const delayed = operationsOf(known.events, 'delay')
  const reminded = runsOf(known, ['remind'])
  judgeReminders(delayed, reminded, against('nothing is lost'))
  judgeTimes(delayed, reminded, against('none early'))
  judgeRepeats(known, delayed, reminded, against('repeats at faults'))
  judgeIds(delayed, reminded, against('same id'))
  for (const line of known.setBack ?? []) against('places go forward')(line)
  if (known.setBack !== undefined) against('places go forward')
  for (const line of known.book ?? []) against('once with its place')(line)
  if (known.book !== undefined) against('once with its place')
  for (const line of known.absent) against('all come back')(line)
  against('all come back')
  for (const line of known.failures) against('no process fails')(line)
  against('no process fails')
}

export type Say = (evidence: string) => void

/** Handler calls in the order in which they began. */
export function runsOf({ events, killed }: Pick<Known, 'events' | 'killed'>, stages: readonly Stage[] = STAGES): Run[] {
  return stages
    .flatMap((stage) =>
      operationsOf(events, stage).map(({ begin, end }): Run => {
        const { key, n, message } = begin as Step
        const process = nameOf(begin.process)
        const to = end?.at ?? killed.get(process) ?? Number.POSITIVE_INFINITY
        const attempt = Number(begin['attempt'] ?? 1)
        return { stage, key, n, message, process, attempt, from: begin.at, to, ok: end?.type === 'ok' }
      }),
    )
    .sort((a, b) => a.from - b.from)
}

/** Handler calls for messages that had been handled before. */
export function repeatsOf(runs: readonly Run[]): ReadonlyArray<{ readonly first: Run; readonly again: Run }> {
  const firsts = new Map<string, Run>()
  const repeats: { first: Run; again: Run }[] = []
  for (const run of runs) {
    const first = firsts.get(idOf(run))
    if (first !== undefined && first.to <= run.from) repeats.push({ first, again: run })
    if (first === undefined && run.ok) firsts.set(idOf(run), run)
  }
  return repeats
}

function judgeLosses(sends: readonly Recorded[], runs: readonly Run[], say: Say): void {
  const done = new Set(runs.filter(({ ok }) => ok).map(idOf))
  for (const name of acceptedOf(sends)) {
    for (const stage of STAGES) {
      if (done.has(`${stage} ${name}`)) continue
      say(`${name} was accepted, and ${stage === 'work' ? 'it' : 'its output'} was never handled to the end`)
      break
    }
  }
}

export function acceptedOf(sends: readonly Recorded[]): ReadonlySet<string> {
  const accepted = sends.filter(({ end }) => end?.type === 'ok').map(({ begin }) => begin as Step)
  return new Set(accepted.map(nameOfStep))
}

/** Checks that at the beginning of `n`, all messages before it have been handled to the end, by any process. */
function judgeOrder(runs: readonly Run[], say: Say): void {
  const ends = runs.filter(({ ok }) => ok).sort((a, b) => a.to - b.to)
  const done = new Map<string, Set<number>>()
  let ended = 0
  for (const run of runs) {
    for (let end = ends[ended]; end !== undefined && end.to <= run.from; end = ends[++ended]) {
      const line = `${end.stage} ${end.key}`
      done.set(line, (done.get(line) ?? new Set()).add(end.n))
    }
    const before = done.get(`${run.stage} ${run.key}`)
    if (run.n > 0 && before?.has(run.n - 1) !== true) say(`${tell(run)} began, and ${run.n - 1} was not handled yet`)
  }
}

function judgeOverlaps({ cutOff }: Known, runs: readonly Run[], say: Say): void {
  const excused = (run: Run): boolean => cutOff.some((span) => span.process === run.process && overlap(span, run))
  for (const own of Map.groupBy(runs, ({ stage, key }) => `${stage} ${key}`).values()) {
    let longest: Run | undefined
    for (const run of own) {
      if (longest !== undefined && run.from < longest.to && !excused(run) && !excused(longest))
        say(`${tell(run)} began while ${tell(longest)} was running`)
      if (longest === undefined || run.to > longest.to) longest = run
    }
  }
}

/**
 * Checks repeats. A message with an unknown outcome is sent again and may be stored twice: no fault causes that repeat.
 */
function judgeRepeats({ faults }: Known, sends: readonly Recorded[], runs: readonly Run[], say: Say): void {
  const sentAgain = new Set(
    sends.filter(({ end }) => end?.type === 'info').map(({ begin }) => nameOfStep(begin as Step)),
  )
  for (const { first, again } of repeatsOf(runs)) {
    const between = { from: first.from, to: again.from }
    if (sentAgain.has(nameOfStep(again)) || faults.some((span) => overlap(span, between))) continue
    say(`${tell(again)} again after ${tell(first)}, without a fault`)
  }
}

function judgeIds(sends: readonly Recorded[], runs: readonly Run[], say: Say): void {
  const known = new Map<string, string>()
  for (const { begin } of sends) {
    const step = begin as Step
    known.set(`${step.op === 'delay' ? 'remind' : 'work'} ${nameOfStep(step)}`, step.message)
  }
  for (const run of runs) {
    const id = known.get(idOf(run))
    if (id === undefined) known.set(idOf(run), run.message)
    else if (id !== run.message) say(`${tell(run)} has the id ${run.message}, it was ${id}`)
  }
}

function overlap(a: Span, b: Span): boolean {
  return a.from <= b.to && b.from <= a.to
}

function idOf({ stage, key, n }: Pick<Run, 'stage' | 'key' | 'n'>): string {
  return `${stage} ${key}/${n}`
}

function nameOfStep({ key, n }: Pick<Run, 'key' | 'n'>): string {
  return `${key}/${n}`
}

function tell(run: Run): string {
  return `${idOf(run)} (${run.process}, ${run.from.toFixed(1)} to ${run.to.toFixed(1)})`
}

/** Times from a message's acceptance to the end of its output, in ms. */
export function latenciesOf(events: readonly Event[]): number[] {
  const accepted = new Map<string, number>()
  const audited = new Map<string, number>()
  for (const event of events) {
    if (event.type !== 'ok' || !isStep(event)) continue
    const name = nameOfStep(event)
    if (event.op === 'send') accepted.set(name, event.at)
    if (event.op === 'audit' && !audited.has(name)) audited.set(name, event.at)
  }
  return [...accepted].flatMap(([name, at]) => {
    const until = audited.get(name)
    return until === undefined ? [] : [Math.max(until - at, 0)]
  })
}
