import type { Recorded } from '../harness/events.ts'
import type { Run, Say } from './judge.ts'
import type { Step } from './ledger.ts'
import { CLOCK_SLACK_MS, RETRY_MS } from './settings.ts'

type Named = Pick<Step, 'key' | 'n'>

/** Each delayed message whose send resolved was handled to the end. */
export function judgeReminders(delayed: readonly Recorded[], runs: readonly Run[], say: Say): void {
  const done = new Set(runs.filter(({ ok }) => ok).map(nameOf))
  const accepted = delayed.filter(({ end }) => end?.type === 'ok').map(({ begin }) => nameOf(begin as Step))
  for (const name of new Set(accepted)) {
    if (!done.has(name)) say(`${name} was accepted for later, and it was never handled to the end`)
  }
}

/**
 * Checks that no run was before its earliest send was due, and no attempt 2 before the earliest retry after an attempt
 * 1.
 */
export function judgeTimes(delayed: readonly Recorded[], runs: readonly Run[], say: Say): void {
  const due = new Map<string, number>()
  for (const { begin } of delayed) earliest(due, nameOf(begin as Step), begin.at + Number(begin['delayMs']))
  for (const run of runs) {
    const { stage, key, n, process, attempt, from, to, ok } = run
    const name = nameOf(run)
    const earlyMs = (due.get(attempt === 1 ? name : `${name} ${attempt}`) ?? 0) - CLOCK_SLACK_MS - from
    if (earlyMs > 0) say(`attempt ${attempt} of ${stage} ${key}/${n} (${process}) began ${earlyMs.toFixed(1)} ms early`)
    if (!ok) earliest(due, `${name} ${attempt + 1}`, to + RETRY_MS * 2 ** (attempt - 1))
  }
}

function earliest(due: Map<string, number>, name: string, at: number): void {
  due.set(name, Math.min(due.get(name) ?? Number.POSITIVE_INFINITY, at))
}

function nameOf({ key, n }: Named): string {
  return `${key}/${n}`
}
