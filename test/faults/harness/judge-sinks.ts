/**
 * Judges the writes that the fenced sinks accepted, by themselves and against the writers' answers. The same for locks
 * and terms.
 */
import { fence } from '../../support/history/models.ts'
import { checkLinearizable } from '../../support/history/wgl.ts'
import { type Event, operationsOf } from './events.ts'
import type { Accepted, Ledgers } from './sink.ts'
import { tell, tellVerdict } from './verdicts.ts'

type Violated = (evidence: string) => void

/** Tokens never decrease, and no holding appears again after another. */
export function judgeOrder(ledgers: Ledgers, violated: Violated): void {
  for (const [sink, ledger] of ledgers) {
    const left = new Set<string>()
    ledger.forEach((write, index) => {
      const before = ledger[index - 1]
      if (before === undefined) return
      if (write.token < before.token) {
        violated(`${sink}: after ${before.write} with ${before.token} it accepted ${write.write} with ${write.token}`)
      }
      if (write.holding === before.holding) return
      left.add(before.holding)
      if (left.has(write.holding)) violated(`${sink}: ${before.write} came in the middle of ${write.holding}`)
    })
  }
}

/**
 * Checks that acknowledged writes are stored and refused ones are not, and that a newer token was stored before each
 * refusal.
 */
export function judgeAnswers(events: readonly Event[], ledgers: Ledgers, violated: Violated): void {
  for (const [sink, ledger] of ledgers) {
    const kept = new Set(ledger.map(({ write }) => write))
    const writes = operationsOf(events, 'write').filter(({ begin }) => begin.sink === sink)
    for (const { begin, end } of writes) {
      const isKept = kept.has(begin.text ?? '')
      if (end?.type === 'ok' && !isKept) violated(`acknowledged, and not in the ledger: ${tell(begin)}`)
      if (end?.type === 'fail' && isKept) violated(`refused, and in the ledger: ${tell(begin)}`)
    }
    // The guarded sink refuses from the next grant on, not from the first write under it.
    if (sink === 'guarded') continue
    const operations = writes.map(({ begin, end }) => {
      const outcome = end?.type === 'ok' ? 'accepted' : end?.type === 'fail' ? 'refused' : 'unknown'
      const returnedAt = end === undefined || end.type === 'info' ? Number.POSITIVE_INFINITY : end.at
      const action = { token: begin.token ?? 0, outcome } as const
      return { process: begin.process, action, invokedAt: begin.at, returnedAt }
    })
    for (const line of tellVerdict(checkLinearizable(fence, operations))) violated(`${sink}: ${line}`)
  }
}

export function accepted(ledgers: Ledgers): readonly Accepted[] {
  return [...ledgers.values()].flat()
}

export function refusedWrites(events: readonly Event[]): number {
  return events.filter(({ op, type, outcome }) => op === 'write' && type === 'fail' && outcome === 'refused').length
}
