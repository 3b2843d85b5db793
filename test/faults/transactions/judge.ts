import type { InvariantVerdict } from '../harness/suite.ts'
import { Verdicts } from '../harness/verdicts.ts'
import { type Effect, FEE } from './bank.ts'
import type { Asked } from './customers.ts'
import type { Invariant } from './invariants.ts'
import type { SagaLine, Tables } from './tables.ts'

/** Facts recorded about a run so far. */
export interface Known extends Tables {
  readonly asked: readonly Asked[]
  /** Initial balance of each account. */
  readonly funds: number
  readonly failures: readonly string[]
}

type Say = (evidence: string) => void

export function judge(known: Known): InvariantVerdict[] {
  const verdicts = new Verdicts()
  const against = (invariant: Invariant): Say => verdicts.judge(invariant)
  judgeMoney(known, against('money is constant'))
  judgeEnds(known, against('each transfer ends once'))
  judgeWholes(known, against('all or nothing'))
  judgeRepetitions(known, against('no effect twice'))
  const unended = against('no branch without an end')
  for (const { key, status, ended } of known.branches) {
    if (!ended && OPEN.includes(status))
      unended(`${key} is ${status} for its participant, and was neither confirmed nor cancelled`)
  }
  const held = against('nothing is held')
  for (const line of known.held) held(line)
  const failure = against('no process fails')
  for (const line of known.failures) failure(line)
  return verdicts.all()
}

/** States of a branch that may have an effect, or a reservation. */
const OPEN = ['begun', 'ok', 'failed', 'final']

function judgeEnds({ asked, sagas }: Known, say: Say): void {
  const found = new Map(sagas.map((line) => [keyOf(line), line]))
  for (const { saga, id, isDurable } of asked) {
    const line = found.get(keyOf({ saga, id }))
    if (line === undefined) {
      if (isDurable) say(`${id} (${saga}) is not there`)
    } else if (!isEnded(line)) say(`${id} (${saga}) is ${line.status}`)
    else if (line.ends !== 1) say(`${id} (${saga}) ended ${line.ends} times`)
  }
  if (sagas.length > asked.length) say(`${sagas.length} transfers, but only ${asked.length} were asked for`)
}

function judgeWholes({ sagas, effects }: Known, say: Say): void {
  const byTransfer = Map.groupBy(effects, ({ key }) => key.split('/').slice(0, 2).join('/'))
  for (const line of sagas.filter(isEnded)) {
    const byBranch = Map.groupBy(byTransfer.get(keyOf(line)) ?? [], ({ key }) => key)
    const there = [...byBranch].filter(([, lines]) => isThere(lines)).map(([key]) => key)
    const open = [...byBranch].filter(([, lines]) => isReserved(lines)).map(([key]) => key)
    const expected = line.status === 'completed' ? branchesOf(line) : 0
    if (there.length !== expected) {
      say(
        `${line.id} (${line.saga}) is ${line.status}, and ${there.length} of its branches are there: ${there.join(', ') || 'none'}`,
      )
    }
    if (open.length > 0) say(`${line.id} (${line.saga}) is ${line.status}, and still reserves ${open.join(', ')}`)
  }
}

/** Branches of a transfer: code calls two; a saga also has the desk's fee. */
function branchesOf({ saga }: SagaLine): number {
  return saga === 'transfer-code' ? 2 : 3
}

function isThere(lines: readonly Effect[]): boolean {
  return lines.some(({ operation }) => operation === 'do' || operation === 'confirm')
}

function isReserved(lines: readonly Effect[]): boolean {
  const count = (what: Effect['operation']): number => lines.filter(({ operation }) => operation === what).length
  return count('try') > count('confirm') + count('cancel')
}

function judgeRepetitions({ effects }: Known, say: Say): void {
  const same = Map.groupBy(effects, ({ key, operation }) => `${operation} of ${key}`)
  for (const [what, times] of same) {
    if (times.length > 1) say(`${what} ${times.length} times: by ${times.map(({ worker }) => worker).join(', ')}`)
  }
}

function judgeMoney({ asked, sagas, accounts, fees, foreign, funds }: Known, say: Say): void {
  const total = accounts.reduce((sum, { balance }) => sum + balance, fees)
  if (total !== funds * accounts.length) say(`${funds * accounts.length} were paid in, ${total} are there`)
  const expected = new Map(accounts.map(({ id }) => [id, funds]))
  const add = (id: string, cents: number): void => void expected.set(id, (expected.get(id) ?? 0) + cents)
  const completed = new Set(sagas.filter(({ status }) => status === 'completed').map(keyOf))
  let kept = 0
  for (const { saga, id, input } of asked) {
    if (!completed.has(keyOf({ saga, id }))) continue
    const fee = saga === 'transfer-code' ? 0 : FEE
    kept += fee
    add(input.from, -input.cents)
    add(input.to, input.cents - fee)
  }
  for (const { account, cents } of foreign) add(account, cents)
  if (fees !== kept) say(`the desk has kept ${fees}, by its transfers it should be ${kept}`)
  for (const { id, balance, free } of accounts) {
    const should = expected.get(id)
    if (balance !== should) say(`${id} has ${balance}, by its transfers it should have ${should}`)
    if (free !== balance) say(`${id}: ${balance - free} are still reserved`)
  }
}

function keyOf({ saga, id }: { readonly saga: string; readonly id: string }): string {
  return `${saga}/${id}`
}

function isEnded({ status }: SagaLine): boolean {
  return status === 'completed' || status === 'compensated'
}
