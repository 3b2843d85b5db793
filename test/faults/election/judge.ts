import { fencedMutex, type LockAction } from '../../support/history/models.ts'
import { checkLinearizable, type Operation } from '../../support/history/wgl.ts'
import type { Event } from '../harness/events.ts'
import { type Holding, holdingsOf, overlapsOf } from '../harness/holdings.ts'
import { judgeTokens } from '../harness/judge-holdings.ts'
import { accepted, judgeAnswers, judgeOrder, refusedWrites } from '../harness/judge-sinks.ts'
import type { EpisodeReport } from '../harness/suite.ts'
import { tell, tellVerdict, timelineOf, Verdicts } from '../harness/verdicts.ts'
import type { Remains } from '../store/arena.ts'
import { GRANT_WITHIN_MS, MARGIN_MS } from '../store/sizes.ts'
import type { ElectionFault } from './faults.ts'
import type { ElectionInvariant } from './invariants.ts'
import { judgeMembers } from './judge-members.ts'
import { judgeRegister, judgeWatches } from './judge-state.ts'

/** Redis counts whole milliseconds. */
const CLOCK_GRAIN_MS = 2
/** Slack beyond the measured stall for the cost of an abort on a busy machine. */
const SIGNAL_SLACK_MS = 100
/** A hand-over that takes this long was not woken. On an idle machine it takes a few milliseconds. */
const PROMPT_MS = 1_000

export function judge(remains: Remains<ElectionFault>): EpisodeReport {
  const { events, fault, ledgers } = remains
  const terms = holdingsOf(events)
  const verdicts = new Verdicts()
  const on = (invariant: ElectionInvariant): ((evidence: string) => void) => verdicts.judge(invariant)
  judgeTokens(terms, on('terms rise'))
  judgeOrder(ledgers, on('accepted in order'))
  judgeAnswers(events, ledgers, on('sink agrees'))
  const overlaps = overlapsOf(terms)
  if (fault.breaksBelief) {
    const unpromised = ['one leads', 'linearizable'] satisfies ElectionInvariant[]
    for (const invariant of unpromised) verdicts.notPromised(invariant)
  } else {
    const leads = on('one leads')
    for (const { first, second, ms } of overlaps) {
      leads(`for ${ms.toFixed(1)} ms both believed: ${tellTerm(first)} and ${tellTerm(second)}`)
    }
    const linear = on('linearizable')
    for (const line of tellVerdict(checkLinearizable(fencedMutex, lockOperations(terms)))) linear(line)
  }
  judgeRevocation(events, terms, on('revoked in time'))
  judgeAlternation(events, on('alternate'))
  judgeService(remains, terms, on)
  judgeMembers(remains, on)
  if (fault.losesData) verdicts.notPromised('members agree' satisfies ElectionInvariant)
  judgeState(remains, on, verdicts)
  const orphaned = on('no orphans')
  for (const key of remains.orphans) orphaned(key)
  const stray = on('no stray errors')
  for (const event of events) if (event.op === 'stray error' || event.op === 'died') stray(tell(event))
  const count = (fits: (event: Event) => boolean): number => events.filter(fits).length
  const handOverMs = terms.flatMap((next) => handOver(events, terms, next) ?? [])
  return {
    fault: fault.name,
    history: remains.history,
    timeline: timelineOf(events),
    happened: remains.happened,
    counts: {
      operations: count(({ type }) => type === 'invoke'),
      grants: terms.length,
      accepted: accepted(ledgers).length,
      refused: refusedWrites(events),
      unknown: count(({ type }) => type === 'info'),
    },
    handOverMs,
    verdicts: verdicts.all(),
    succeeded: {
      term: terms.length,
      write: accepted(ledgers).length,
      state: count(({ op, type }) => op === 'state' && type === 'ok'),
      join: count(({ op, ...event }) => op === 'member' && event['event'] === 'joined'),
    },
    ...(fault.breaksBelief || fault.needsFence
      ? {
          caught: {
            overlaps: overlaps.length,
            longestMs: Math.max(0, ...overlaps.map(({ ms }) => ms)),
            lateWritesRefused: refusedWrites(events),
          },
        }
      : {}),
  }
}

/**
 * Judges the state. A store that loses confirmed data loses state too; watchers are informed of it, and it breaks no
 * promise.
 */
function judgeState(
  { events, fault }: Remains<ElectionFault>,
  on: (invariant: ElectionInvariant) => (evidence: string) => void,
  verdicts: Verdicts,
): void {
  if (fault.losesData) {
    const unpromised = ['state is linearizable', 'state is heard'] satisfies ElectionInvariant[]
    for (const invariant of unpromised) verdicts.notPromised(invariant)
    return
  }
  judgeRegister(events, on('state is linearizable'))
  judgeWatches(events, on('state is heard'))
}

/**
 * Lock operations of the terms. A give-back is not visible: after a holder's own revocation it may happen at any
 * moment, otherwise not before its ttl.
 */
function lockOperations(terms: readonly Holding[]): Operation<LockAction>[] {
  return terms.flatMap(({ grant, process, token, asked, granted, until, release, lost }) => {
    const frees = until + MARGIN_MS - CLOCK_GRAIN_MS
    const isOwn = release !== undefined && release.text !== 'lost'
    const from = isOwn ? Math.min(release.at, lost?.at ?? Number.POSITIVE_INFINITY, frees) : frees
    return [
      {
        process,
        action: { do: 'acquire', holder: grant, token },
        invokedAt: asked.at,
        returnedAt: granted.at,
      },
      { process, action: { do: 'end', holder: grant }, invokedAt: from, returnedAt: Number.POSITIVE_INFINITY },
    ]
  })
}

function judgeRevocation(
  events: readonly Event[],
  terms: readonly Holding[],
  violated: (evidence: string) => void,
): void {
  for (const { grant, lost } of terms) {
    if (lost === undefined) continue
    const own = events.filter((event) => event.grant === grant)
    for (const event of own) {
      if (event.at > lost.at && event.op === 'write' && event.type === 'invoke' && event['asked'] === true) {
        violated(`${tell(lost)}, and later assertValid passed before ${tell(event)}`)
      }
    }
    const deadline = own.findLast(({ at, until, state, type }) => {
      return at <= lost.at && until !== undefined && (state === 'held' || type === 'ok')
    })?.until
    const lateMs = lost.at - (deadline ?? lost.at)
    if (lateMs > SIGNAL_SLACK_MS + (lost.stalledMs ?? 0)) {
      violated(
        `${lateMs.toFixed(0)} ms after its deadline, the event loop stood still for ${lost.stalledMs}: ${tell(lost)}`,
      )
    }
  }
}

function judgeAlternation(events: readonly Event[], violated: (evidence: string) => void): void {
  const turns = events.filter(({ process, op, type }) => {
    return !process.startsWith('harness') && ((op === 'acquire' && type === 'ok') || op === 'release')
  })
  for (const [, own] of Map.groupBy(turns, ({ process }) => process.split('.', 1)[0])) {
    const expected = ['acquire ok', 'release invoke', 'release ok']
    own.forEach((event, index) => {
      if (`${event.op} ${event.type}` !== expected[index % 3]) {
        violated(`expected ${expected[index % 3]}, but ${tell(event)}`)
      }
    })
  }
}

function judgeService(
  { events, healedAt, lagMs }: Remains<ElectionFault>,
  terms: readonly Holding[],
  on: (invariant: ElectionInvariant) => (evidence: string) => void,
): void {
  const goesOn = on('leadership goes on')
  const first = events.find(({ at, op, type }) => at >= healedAt && op === 'write' && type === 'ok')
  const tookMs = (first?.at ?? Number.POSITIVE_INFINITY) - healedAt
  if (tookMs > GRANT_WITHIN_MS + lagMs)
    goesOn(`the first write came ${tookMs.toFixed(0)} ms after the end of the fault`)
  const prompt = on('hand-over is prompt')
  for (const next of terms) {
    const before = previous(terms, next)
    const isOwn = before?.release?.text === 'resigned' || before?.release?.text === 'closed'
    if (before?.release === undefined || !isOwn || next.asked.at > before.release.at) continue
    const ms = next.granted.at - before.release.at
    if (ms > PROMPT_MS + lagMs) prompt(`${ms.toFixed(0)} ms from ${tell(before.release)} to ${tell(next.granted)}`)
  }
  const free = on('released is free')
  for (const event of events) {
    if (event.process.startsWith('harness') && event.op === 'acquire' && event.type === 'fail') free(tell(event))
  }
}

function previous(terms: readonly Holding[], next: Holding): Holding | undefined {
  return terms
    .filter(({ granted }) => granted.at < next.granted.at)
    .toSorted((a, b) => a.granted.at - b.granted.at)
    .at(-1)
}

/** Time from the end of a leader (terminated or killed) to the next one, where a candidate waited. */
function handOver(events: readonly Event[], terms: readonly Holding[], next: Holding): number | undefined {
  const before = previous(terms, next)
  if (before === undefined || next.process.startsWith('harness')) return undefined
  const name = before.process.split('.', 1)[0]
  const killedAt = events.find(({ op, text }) => op === 'killed' && text === name)?.at
  const endedAt = before.release?.at ?? killedAt
  return endedAt === undefined || next.asked.at > endedAt ? undefined : next.granted.at - endedAt
}

function tellTerm({ process, token, granted, beliefEnds }: Holding): string {
  return `${process} (term ${token}, ${granted.at.toFixed(1)} to ${beliefEnds.toFixed(1)})`
}
