import type { InvariantVerdict } from '../harness/suite.ts'
import { Verdicts } from '../harness/verdicts.ts'
import type { Effect } from './bank.ts'
import type { Asked } from './customers.ts'
import type { SagaInvariant } from './invariants.ts'
import type { Tables, TimelineLine } from './tables.ts'

/** Facts recorded about a run so far. */
export interface Known extends Tables {
  readonly asked: readonly Asked[]
  /** Initial balance of each account. */
  readonly funds: number
  /** Found while it ran. */
  readonly withoutOwner: readonly string[]
  readonly failures: readonly string[]
}

const STEPS = ['open', 'reserve', 'credit', 'book', 'settle']

export function judge(known: Known): InvariantVerdict[] {
  const verdicts = new Verdicts()
  const against = (invariant: SagaInvariant) => verdicts.judge(invariant)
  judgeEnds(known, against('each saga ends once'))
  judgeRepetitions(known, against('each effect once'))
  judgeEffects(known, against('ends as it says'))
  judgeIntents(known, against('compensations match intents'))
  judgeMoney(known, against('money is constant'))
  const withoutOwner = against('never without owner')
  for (const line of known.withoutOwner) withoutOwner(line)
  const failure = against('no process fails')
  for (const line of known.failures) failure(line)
  return verdicts.all()
}

type Say = (evidence: string) => void

function judgeEnds({ asked, sagas, timeline }: Known, say: Say): void {
  const status = new Map(sagas.map((saga) => [saga.id, saga.status]))
  const lines = Map.groupBy(timeline, ({ id }) => id)
  for (const { id } of asked) {
    const is = status.get(id)
    if (is !== 'completed' && is !== 'compensated') say(`${id}: ${is ?? 'is not there'}\n${tell(lines.get(id))}`)
    const ends = (lines.get(id) ?? []).filter(({ kind }) => kind === 'saga-completed' || kind === 'saga-compensated')
    if (is === undefined || ends.length === 1) continue
    say(`${id}: ended ${ends.length} times\n${tell(lines.get(id))}`)
  }
  if (sagas.length > asked.length) say(`${sagas.length} sagas, but only ${asked.length} were started`)
}

function judgeRepetitions({ effects }: Known, say: Say): void {
  const same = Map.groupBy(effects, ({ key, operation }) => `${operation} of ${key}`)
  for (const [what, times] of same) {
    if (times.length > 1) say(`${what} ${times.length} times: by ${times.map(({ worker }) => worker).join(', ')}`)
  }
}

function judgeEffects({ sagas, effects }: Known, say: Say): void {
  const done = Map.groupBy(effects, ({ key }) => key.split('/')[1] ?? '')
  for (const { id, status } of sagas) {
    for (const step of STEPS) {
      const own = (done.get(id) ?? []).filter(({ key }) => key === keyOf(id, step))
      const net = count(own, 'invoke') - count(own, 'compensate')
      const expected = status === 'completed' ? 1 : 0
      if (isEnded(status) && net !== expected) say(`${id} is ${status}, and ${step} is there ${net} times`)
    }
  }
}

function judgeIntents({ effects, timeline }: Known, say: Say): void {
  const lines = Map.groupBy(timeline, ({ id }) => id)
  const done = new Set(effects.map(({ key, operation }) => `${operation} ${key}`))
  for (const { key, operation } of effects) {
    const [, id = '', step = ''] = key.split('/')
    const own = (lines.get(id) ?? []).filter((line) => line.step === step).map(({ kind }) => kind)
    if (!own.includes('invoking')) say(`${operation} of ${key} without an intent\n${tell(lines.get(id))}`)
    if (operation !== 'compensate') continue
    if (!done.has(`invoke ${key}`)) say(`${key} was undone and never done\n${tell(lines.get(id))}`)
    if (!own.includes('compensating')) say(`${key} was undone without an intent\n${tell(lines.get(id))}`)
  }
  for (const [id, all] of lines) judgeOrder(id, all, say)
}

/** Checks the timeline itself: nothing is undone that was not intended before. */
function judgeOrder(id: string, timeline: readonly TimelineLine[], say: Say): void {
  const intended = new Set<string | null>()
  for (const { kind, step } of timeline) {
    if (kind === 'invoking') intended.add(step)
    if (kind === 'compensating' && !intended.has(step)) say(`${id}: ${step} was undone before it was intended`)
  }
}

function judgeMoney({ asked, sagas, accounts, funds }: Known, say: Say): void {
  const total = accounts.reduce((sum, { balance, reserved }) => sum + balance + reserved, 0)
  if (total !== funds * accounts.length) say(`${funds * accounts.length} were paid in, ${total} are there`)
  const status = new Map(sagas.map((saga) => [saga.id, saga.status]))
  const expected = new Map(accounts.map(({ id }) => [id, funds]))
  for (const { id, input } of asked) {
    if (status.get(id) !== 'completed') continue
    expected.set(input.from, (expected.get(input.from) ?? 0) - input.cents)
    expected.set(input.to, (expected.get(input.to) ?? 0) + input.cents)
  }
  for (const { id, balance, reserved } of accounts) {
    const should = expected.get(id)
    if (balance !== should) say(`${id} has ${balance}, by its sagas it should have ${should}`)
    if (reserved !== 0) say(`${id}: ${reserved} are still reserved`)
  }
}

function keyOf(id: string, step: string): string {
  return `transfer/${id}/${step}`
}

function count(effects: readonly Effect[], operation: Effect['operation']): number {
  return effects.filter((effect) => effect.operation === operation).length
}

function isEnded(status: string): boolean {
  return status === 'completed' || status === 'compensated'
}

function tell(timeline: readonly TimelineLine[] = []): string {
  return `    ${timeline.map(({ kind, step }) => [kind, step].filter(Boolean).join(' ')).join(', ') || 'no timeline'}`
}
