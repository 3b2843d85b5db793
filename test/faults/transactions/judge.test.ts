import { expect, it } from 'vitest'
import type { Asked } from './customers.ts'
import { judge, type Known } from './judge.ts'

const id = 'e1-1'
const input = { from: 'a', to: 'b', cents: 30, withdraw: 'tcc', deposit: 'xa', refusedBy: 'nobody' } as const
const asked: Asked = { id, saga: 'transfer-tcc-xa', input, isDurable: true }
const key = (step: string): string => `transfer-tcc-xa/${id}/${step}`
const line = (step: string, operation: 'try' | 'confirm' | 'cancel' | 'do') => ({
  key: key(step),
  operation,
  worker: 'w',
})
const saga = { saga: 'transfer-tcc-xa', id, status: 'completed', tookMs: 1, ends: 1, wasCancelled: false }

/** A transfer that succeeded, and a stranger who moved two cents. */
const well: Known = {
  asked: [asked],
  funds: 100,
  failures: [],
  sagas: [saga],
  effects: [
    line('withdraw', 'try'),
    line('deposit', 'do'),
    line('fee', 'try'),
    line('withdraw', 'confirm'),
    line('fee', 'confirm'),
  ],
  accounts: [
    { id: 'a', balance: 68, free: 68 },
    { id: 'b', balance: 129, free: 129 },
    { id: 'c', balance: 102, free: 102 },
  ],
  fees: 1,
  foreign: [
    { account: 'a', cents: -2 },
    { account: 'c', cents: 2 },
  ],
  branches: [{ key: key('withdraw'), status: 'ok', ended: true }],
  held: [],
}

const violated = (known: Partial<Known>): readonly string[] =>
  judge({ ...well, ...known }).flatMap(({ invariant, holds }) => (holds ? [] : [invariant]))

it('the judge of transfers finds nothing in a correct run', () => {
  expect(violated({})).toEqual([])
  expect(judge(well)).toHaveLength(7)
})

it('the judge of transfers ignores a transfer by code that never began', () => {
  const never: Asked = { ...asked, id: 'e1-2', isDurable: false }
  expect(violated({ asked: [asked, never] })).toEqual([])
  expect(violated({ asked: [asked, { ...never, isDurable: true }] })).toEqual(['each transfer ends once'])
})

it.for<[string, Partial<Known>, readonly string[]]>([
  [
    'money that is gone',
    { accounts: well.accounts.map((one) => ({ ...one, balance: one.balance - 1 })) },
    ['money is constant'],
  ],
  [
    'money that stays reserved',
    { accounts: well.accounts.map((one) => ({ ...one, free: one.free - 1 })) },
    ['money is constant'],
  ],
  ['a fee that was kept twice', { fees: 2 }, ['money is constant']],
  [
    'a transfer that is stuck',
    { sagas: [{ ...saga, status: 'stuck', ends: 0 }] },
    ['money is constant', 'each transfer ends once'],
  ],
  ['one that ended twice', { sagas: [{ ...saga, ends: 2 }] }, ['each transfer ends once']],
  ['half a transfer', { effects: well.effects.filter(({ operation }) => operation !== 'do') }, ['all or nothing']],
  ['a reservation that nobody gave up', { effects: [...well.effects, line('other', 'try')] }, ['all or nothing']],
  ['an effect twice', { effects: [...well.effects, line('deposit', 'do')] }, ['no effect twice']],
  [
    'a branch without an end',
    { branches: [{ key: 'x', status: 'begun', ended: false }] },
    ['no branch without an end'],
  ],
  ['a transaction that stays prepared', { held: ['prepared transaction: concordat:1'] }, ['nothing is held']],
  ['a process that failed', { failures: ['north-1 ended by itself'] }, ['no process fails']],
])('the judge of transfers finds %s', ([, known, expected]) => {
  expect(violated(known)).toEqual(expected)
})

it('the judge of transfers expects nothing of a branch that was refused, or cancelled before it came', () => {
  const branches = ['refused', 'cancelled'].map((status) => ({ key: 'x', status, ended: false }))
  expect(violated({ branches })).toEqual([])
})
