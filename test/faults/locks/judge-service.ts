/** Invariants of service: every worker gets the lock in time. */
import { type Event, operationsOf } from '../harness/events.ts'
import type { Holding } from '../harness/holdings.ts'
import { tell } from '../harness/verdicts.ts'
import type { Remains } from '../store/arena.ts'
import { GRANT_WITHIN_MS, TTL_MS } from '../store/sizes.ts'
import type { LockFault } from './fault.ts'
import type { LockInvariant } from './invariants.ts'

/**
 * Time until every worker was served again: the time above, and for each of the others a kept place, a section and a
 * ttl.
 */
export const SERVED_WITHIN_MS = 6_000
/** A hand-over that takes this long was not woken: the heartbeat found it. */
const WAKE_UP_MS = 1_000
/** Difference after which the later request was certainly behind in the queue. */
const BEHIND_MS = 250

export function judgeService(
  { fault, events, healedAt, lagMs }: Remains<LockFault>,
  holdings: readonly Holding[],
  on: (invariant: LockInvariant) => (evidence: string) => void,
): void {
  const goesOn = on('grants go on')
  const first = holdings
    .filter(({ granted }) => granted.at >= healedAt)
    .toSorted((a, b) => a.granted.at - b.granted.at)[0]
  const tookMs = (first?.granted.at ?? Number.POSITIVE_INFINITY) - healedAt
  const busy = holdings.find(({ granted, beliefEnds }) => granted.at < healedAt && beliefEnds > healedAt + TTL_MS)
  if (tookMs > GRANT_WITHIN_MS + lagMs && busy === undefined) goesOn(`the first one came ${tookMs.toFixed(0)} ms later`)

  const free = on('released is free')
  for (const { begin, end } of operationsOf(events, 'acquire')) {
    if (begin.process.startsWith('harness') && end?.type !== 'ok') free(`${tell(begin)}: ${end?.error ?? 'no answer'}`)
  }

  const starves = on('nobody starves')
  for (const event of events) if (event.op === 'not served') starves(tell(event))
  if (fault.keepsOrder !== true) return
  for (const event of events) {
    if (event.op === 'acquire' && event.error?.startsWith('locks.timeout')) starves(tell(event))
  }
  for (const line of overtakings(holdings)) starves(line)

  const wakes = on('no wake-up is lost')
  for (const line of lostWakeUps(events, holdings, lagMs)) wakes(line)
}

function overtakings(holdings: readonly Holding[]): string[] {
  return holdings.flatMap((late) => {
    const overtook = holdings.filter((other) => {
      return other.asked.at > late.asked.at + BEHIND_MS && other.granted.at < late.granted.at
    })
    return overtook.map((other) => `${tell(other.granted)} overtook ${tell(late.asked)}`)
  })
}

function lostWakeUps(events: readonly Event[], holdings: readonly Holding[], lagMs: number): string[] {
  const asks = operationsOf(events, 'acquire')
  const deaths = new Map(events.filter(({ op }) => op === 'killed').map(({ text, at }) => [text, at]))
  const byTime = holdings.toSorted((a, b) => a.granted.at - b.granted.at)
  return byTime.flatMap((holding, index) => {
    const { release, released } = holding
    if (release === undefined || released?.outcome !== 'released') return []
    const waited = asks.some(({ begin, end }) => {
      const diesAt = deaths.get(begin.process.split('.', 1)[0]) ?? Number.POSITIVE_INFINITY
      const servedAt = end?.at ?? diesAt
      return begin.at < release.at - BEHIND_MS && servedAt > release.at + WAKE_UP_MS + lagMs
    })
    const next = byTime[index + 1]?.granted.at ?? Number.POSITIVE_INFINITY
    const gapMs = next - release.at
    if (!waited || gapMs <= WAKE_UP_MS + lagMs) return []
    return [`somebody waited, and for ${gapMs.toFixed(0)} ms nobody was granted after ${tell(release)}`]
  })
}
