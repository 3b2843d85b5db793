import { fencedMutex, type LockAction, readWriteLock, semaphore } from '../../support/history/models.ts'
import { checkLinearizable, type Operation } from '../../support/history/wgl.ts'
import type { Event } from '../harness/events.ts'
import { type Holding, holdingsOf, overlapsOf } from '../harness/holdings.ts'
import { judgeTokens } from '../harness/judge-holdings.ts'
import { accepted, judgeAnswers, judgeOrder, refusedWrites } from '../harness/judge-sinks.ts'
import type { Ledgers } from '../harness/sink.ts'
import type { Caught, Counts, EpisodeReport } from '../harness/suite.ts'
import { tell, tellVerdict, timelineOf, Verdicts } from '../harness/verdicts.ts'
import type { Remains } from '../store/arena.ts'
import { MARGIN_MS } from '../store/sizes.ts'
import type { LockFault } from './fault.ts'
import type { LockInvariant } from './invariants.ts'
import { judgeService } from './judge-service.ts'
import { PERMITS } from './settings.ts'

/** Redis counts whole milliseconds. */
const CLOCK_GRAIN_MS = 2
/** Slack beyond the measured stall for the cost of an abort on a busy machine. */
const SIGNAL_SLACK_MS = 100

export function judge(remains: Remains<LockFault>): EpisodeReport {
  const { events, fault } = remains
  const holdings = holdingsOf(events)
  const verdicts = new Verdicts()
  const on = (invariant: LockInvariant): ((evidence: string) => void) => verdicts.judge(invariant)
  judgeTokens(holdings, on('tokens rise'))
  judgeOrder(remains.ledgers, on('accepted in order'))
  judgeAnswers(events, remains.ledgers, on('sink agrees'))
  const overlaps = overlapsIn(fault, holdings)
  if (fault.breaksBelief) {
    for (const invariant of ['one believes', 'linearizable'] satisfies LockInvariant[]) verdicts.notPromised(invariant)
  } else {
    const believes = on('one believes')
    for (const { first, second, ms } of overlaps) {
      believes(`for ${ms.toFixed(1)} ms both believed: ${tellHolding(first)} and ${tellHolding(second)}`)
    }
    on('linearizable')
    for (const line of tellVerdict(checkLinearizable(modelOf(fault), lockOperations(holdings))))
      on('linearizable')(line)
  }
  judgeLoss(events, holdings, on('lost is lost'), on('lost in time'))
  judgeService(remains, holdings, on)
  const orphaned = on('no orphans')
  for (const key of remains.orphans) orphaned(key)
  const stray = on('no stray errors')
  for (const event of events) if (event.op === 'stray error' || event.op === 'died') stray(tell(event))
  return {
    fault: fault.name,
    history: remains.history,
    timeline: timelineOf(events),
    happened: remains.happened,
    counts: countsOf(events, remains.ledgers),
    handOverMs: handOvers(holdings),
    verdicts: verdicts.all(),
    succeeded: {
      acquire: holdings.length,
      write: accepted(remains.ledgers).length,
      release: holdings.filter(({ released }) => released?.outcome === 'released').length,
    },
    ...(fault.breaksBelief || fault.needsFence ? { caught: caughtOf(events, overlaps) } : {}),
  }
}

function countsOf(events: readonly Event[], ledgers: Ledgers): Counts {
  return {
    operations: events.filter(({ type }) => type === 'invoke').length,
    grants: events.filter(({ type, op }) => type === 'ok' && op === 'acquire').length,
    accepted: accepted(ledgers).length,
    refused: refusedWrites(events),
    unknown: events.filter(({ type }) => type === 'info').length,
  }
}

/** Times from the call that gave the lock back to the next grant, where a worker had waited. */
function handOvers(holdings: readonly Holding[]): number[] {
  return holdings.flatMap((next) => {
    const before = holdings.findLast(({ granted }) => granted.at < next.granted.at)
    const { release } = before ?? {}
    if (release === undefined || before?.released?.outcome !== 'released') return []
    return next.asked.at < release.at ? [next.granted.at - release.at] : []
  })
}

function overlapsIn(fault: LockFault, holdings: readonly Holding[]) {
  const overlaps = overlapsOf(holdings)
  switch (fault.mode ?? 'exclusive') {
    case 'exclusive':
      return overlaps
    case 'readers and writers':
      return overlaps.filter(({ first, second }) => first.mode !== 'shared' || second.mode !== 'shared')
    case 'permits': {
      const crowd = (at: number): number =>
        holdings.filter(({ granted, beliefEnds }) => granted.at <= at && beliefEnds > at).length
      return overlaps.filter(({ second }) => crowd(second.granted.at) > PERMITS)
    }
    default:
      throw new Error(`no such mode: ${fault.mode}`)
  }
}

function modelOf(fault: LockFault) {
  switch (fault.mode ?? 'exclusive') {
    case 'readers and writers':
      return readWriteLock
    case 'permits':
      return semaphore(PERMITS)
    default:
      return fencedMutex
  }
}

/**
 * Grants and their ends. An unconfirmed end may have happened at any moment from the first at which the server could
 * free the lock: a ttl after the last renewal that it confirmed was sent, which is the deadline plus its margin. Failed
 * acquisitions are left out: they only delayed others.
 */
function lockOperations(holdings: readonly Holding[]): Operation<LockAction>[] {
  return holdings.flatMap(({ grant, process, token, mode, asked, granted, until, release, released }) => {
    const action = mode === 'shared' ? ({ mode: 'shared' } as const) : {}
    const acquire: Operation<LockAction> = {
      process,
      action: { do: 'acquire', holder: grant, token, ...action },
      invokedAt: asked.at,
      returnedAt: granted.at,
    }
    const end = { process, action: { do: 'end', holder: grant } } as const
    if (release !== undefined && released?.outcome === 'released') {
      return [acquire, { ...end, invokedAt: release.at, returnedAt: released.at }]
    }
    const frees = until + MARGIN_MS - CLOCK_GRAIN_MS
    const mayFree = release !== undefined && released?.outcome !== 'lost' ? Math.min(release.at, frees) : frees
    return [acquire, { ...end, invokedAt: mayFree, returnedAt: Number.POSITIVE_INFINITY }]
  })
}

function judgeLoss(
  events: readonly Event[],
  holdings: readonly Holding[],
  terminal: (evidence: string) => void,
  inTime: (evidence: string) => void,
): void {
  for (const { grant, lost } of holdings) {
    if (lost === undefined) continue
    const own = events.filter((event) => event.grant === grant)
    for (const event of own.filter(({ at }) => at > lost.at)) {
      if (event.op === 'belief' && event.state === 'held') terminal(`${tell(lost)}, and later ${tell(event)}`)
      if (event.op === 'write' && event.type === 'invoke' && event['asked'] === true) {
        terminal(`${tell(lost)}, and later assertValid passed before ${tell(event)}`)
      }
    }
    const beliefs = own.filter(({ at, op, type, state }) => {
      return at <= lost.at && ((op === 'belief' && state === 'held') || (op === 'acquire' && type === 'ok'))
    })
    const deadline = beliefs.at(-1)?.until ?? lost.at
    const lateMs = lost.at - deadline
    if (lateMs > SIGNAL_SLACK_MS + (lost.stalledMs ?? 0)) {
      inTime(
        `${lateMs.toFixed(0)} ms after its deadline, the event loop stood still for ${lost.stalledMs}: ${tell(lost)}`,
      )
    }
  }
}

function caughtOf(events: readonly Event[], overlaps: ReturnType<typeof overlapsOf>): Caught {
  return {
    overlaps: overlaps.length,
    longestMs: Math.max(0, ...overlaps.map(({ ms }) => ms)),
    lateWritesRefused: refusedWrites(events),
  }
}

export function tellHolding({ process, grant, token, granted, beliefEnds }: Holding): string {
  return `${process} (${grant}, token ${token}, ${granted.at.toFixed(1)} to ${beliefEnds.toFixed(1)})`
}
